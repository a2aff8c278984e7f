"""What a command writes: one record for each input, in files of several formats, or as lines for people."""

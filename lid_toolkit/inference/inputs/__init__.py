"""What the arguments of a command name: recordings in files, folders, lists, tar shards and parquet files.

Everything is read as a stream: an input exists only from the moment it is asked for. What cannot be read
becomes an input with an error in the place of its speech, so that nothing is lost and nothing stops the rest.
"""

"""Stage 3: a data directory to uniform audio, planned in parts that jobs do and a last step merges."""

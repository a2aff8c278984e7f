"""Format a data directory to uniform audio, in parts that jobs do and a last step merges."""

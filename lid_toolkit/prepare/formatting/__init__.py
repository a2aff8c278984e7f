"""Format a data directory to uniform audio: a plan, jobs that do the parts, and a merge."""

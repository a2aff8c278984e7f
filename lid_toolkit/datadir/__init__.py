"""Kaldi-style tables and directories: read, check, fix, combine, split (no torch)."""

"""Stages 1 to 4 on whole data directories: import, check, format, statistics, feature extraction."""

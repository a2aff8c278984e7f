"""Preparation of whole data directories: import, check, format, statistics, feature extraction."""

"""Corpus knowledge: where speech comes from and how it becomes Kaldi-style data directories."""

"""Corpora: how each is obtained and prepared as Kaldi-style data directories."""

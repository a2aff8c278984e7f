"""Corpus `mini`: synthetic speech in twelve languages, made locally from the data in Python packages."""

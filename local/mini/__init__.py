"""Corpus `mini`: synthetic speech in twelve languages, made in place from packages that ship everything."""

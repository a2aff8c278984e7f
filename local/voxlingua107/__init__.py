"""Corpus `voxlingua107`: YouTube speech in 107 languages (Valk and Alumäe, SLT 2021)."""

"""Corpus `voxlingua107`: speech from YouTube in 107 languages (Valk and Alumäe, SLT 2021)."""

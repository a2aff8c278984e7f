"""Corpus `voxlingua107_dev`: VoxLingua107's dev set alone, in five folds (Valk and Alumäe, SLT 2021)."""

"""Batched identification and embedding extraction; LanguageIdentifier."""

"""Corpus `prompts`: real speech, the voice prompts of telephone and game packages in Debian."""

"""Corpus `prompts`: real speech from Debian packages with telephone prompts and game dialogues."""

"""Corpus `voices`: real speech in many languages from Debian packages; the sets share no training voice."""

"""Spoken language identification: a staged recipe toolkit and a Python library."""

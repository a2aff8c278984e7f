"""Identify languages in a browser and over HTTP: a page and a JSON service."""

"""Installs the package that pyproject.toml describes; for tools that still call ``setup.py``."""

from setuptools import setup

setup()

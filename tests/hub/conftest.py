"""Fixtures of the hub tests: the packed model of ``tests/package``."""

from package.conftest import model, package, speech

__all__ = ["model", "package", "speech"]

#!/usr/bin/env python3
"""Compare two systems on the same utterances: accuracy gain with its interval, exact McNemar test."""

from stages import run

from lid_toolkit.commands.recipe.compare import main

if __name__ == "__main__":
    run(main)

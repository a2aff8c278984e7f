#!/usr/bin/env python3
"""Import your own recordings into a checked data directory."""

from stages import run

from lid_toolkit.commands.recipe.import_data import main

if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Copy a data directory. Optionally add a prefix to its ids, or map its labels to ISO 639-3 codes."""

from stages import run

from lid_toolkit.commands.recipe.copy_data_dir import main

if __name__ == "__main__":
    run(main)

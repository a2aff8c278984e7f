#!/usr/bin/env python3
"""Split a data directory into N equal parts, or into sets that share no speaker or recording."""

from stages import run

from lid_toolkit.commands.recipe.split_data_dir import main

if __name__ == "__main__":
    run(main)

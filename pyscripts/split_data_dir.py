#!/usr/bin/env python3
"""Split a data directory into N equal parts, SOURCE/splitN/1 to N, in the order of the utterances."""

from stages import run

from lid_toolkit.commands.recipe.split_data_dir import main

if __name__ == "__main__":
    run(main)

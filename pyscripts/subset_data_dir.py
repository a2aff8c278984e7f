#!/usr/bin/env python3
"""Write a data directory with a subset of the utterances of another. Several options can be combined."""

from stages import run

from lid_toolkit.commands.recipe.subset_data_dir import main

if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Stage 2: write a speed-perturbed copy of a data directory. Stage 3 changes the audio accordingly."""

from stages import run

from lid_toolkit.commands.recipe.perturb_data_dir import main

if __name__ == "__main__":
    run(main)

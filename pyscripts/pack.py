#!/usr/bin/env python3
"""Stage 9: pack a model with its labels, scores and figures into one zip file."""

from stages import run

from lid_toolkit.commands.recipe.pack import main

if __name__ == "__main__":
    run(main)

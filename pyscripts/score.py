#!/usr/bin/env python3
"""Stage 7: score the results of a system on a set."""

from stages import run

from lid_toolkit.commands.recipe.score import main

if __name__ == "__main__":
    run(main)

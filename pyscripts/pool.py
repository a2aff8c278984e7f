#!/usr/bin/env python3
"""Join the answers of folds, each to another part of a set, so that they can be scored together."""

from stages import run

from lid_toolkit.commands.recipe.pool import main

if __name__ == "__main__":
    run(main)

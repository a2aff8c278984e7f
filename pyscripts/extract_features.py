#!/usr/bin/env python3
"""Stage 4: extract the features of a frozen front end once. Run plan, then all jobs, then merge."""

from stages import run

from lid_toolkit.commands.recipe.extract_features import main

if __name__ == "__main__":
    run(main)

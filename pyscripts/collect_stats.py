#!/usr/bin/env python3
"""Stage 4: collect the utterance lengths and labels of the training and validation sets."""

from stages import run

from lid_toolkit.commands.recipe.collect_stats import main

if __name__ == "__main__":
    run(main)

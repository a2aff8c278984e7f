#!/usr/bin/env python3
"""Check a training configuration before training: keys, values, components and lists of sounds."""

from stages import run

from lid_toolkit.commands.recipe.check_config import main

if __name__ == "__main__":
    run(main)

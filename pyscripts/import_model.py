#!/usr/bin/env python3
"""Write a model of another toolkit as an experiment directory: ``lid import``."""

from stages import run

from lid_toolkit.commands.recipe.import_model import main

if __name__ == "__main__":
    run(main)

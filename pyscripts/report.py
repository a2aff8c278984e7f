#!/usr/bin/env python3
"""Report on an experiment again, or on several side by side."""

from stages import run

from lid_toolkit.commands.recipe.report import main

if __name__ == "__main__":
    run(main)

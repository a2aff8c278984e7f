#!/usr/bin/env python3
"""Combine several data directories into one."""

from stages import run

from lid_toolkit.commands.recipe.combine_data_dirs import main

if __name__ == "__main__":
    run(main)

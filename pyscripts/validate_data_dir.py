#!/usr/bin/env python3
"""Report all faults of a data directory as file:line: what (how to fix it). Exit code 2 if there are any."""

from stages import run

from lid_toolkit.commands.recipe.validate_data_dir import main

if __name__ == "__main__":
    run(main)

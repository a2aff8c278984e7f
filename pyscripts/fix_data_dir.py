#!/usr/bin/env python3
"""Fix a data directory where no guessing is needed. Keep a backup, and list what was removed and why."""

from stages import run

from lid_toolkit.commands.recipe.fix_data_dir import main

if __name__ == "__main__":
    run(main)

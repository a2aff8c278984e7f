#!/usr/bin/env python3
"""Report the utterances, hours, languages and durations of a data directory, with a bar chart of hours."""

from stages import run

from lid_toolkit.commands.recipe.report_data_dir import main

if __name__ == "__main__":
    run(main)

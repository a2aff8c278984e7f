#!/usr/bin/env python3
"""Stage 3: format the audio of a data directory. Run plan, then all jobs, then merge."""

from stages import run

from lid_toolkit.commands.recipe.format_audio import main

if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Stage 6: identify the languages of a set and extract embeddings. Run plan, then all jobs, then merge."""

from stages import run

from lid_toolkit.commands.recipe.infer import main

if __name__ == "__main__":
    run(main)

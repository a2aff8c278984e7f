#!/usr/bin/env python3
"""Stage 10: upload a packed model to the Hugging Face Hub."""

from stages import run

from lid_toolkit.commands.recipe.upload_hf import main

if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Import a language identification model of ESPnet (lid1) or SpeechBrain into an experiment directory."""

from stages import run

from lid_toolkit.commands.recipe.import_model import main

if __name__ == "__main__":
    run(main)

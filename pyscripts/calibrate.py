#!/usr/bin/env python3
"""Stage 7, with --calibration: fit the calibration of a model's scores on the validation set."""

from stages import run

from lid_toolkit.commands.calibrate import main

if __name__ == "__main__":
    run(main)

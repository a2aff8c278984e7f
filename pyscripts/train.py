#!/usr/bin/env python3
"""Stage 5: train a language identification model, in one or more processes."""

from functools import partial

from stages import run

from lid_toolkit.commands.recipe import train

main = partial(train.main, again=[__file__])

if __name__ == "__main__":
    run(main)

#!/usr/bin/env python3
"""Write a model of another toolkit as an experiment: ``lid import``, with the options of earlier versions."""

from argparse import ArgumentParser
from collections.abc import Sequence

from stages import run

from lid_toolkit.commands import import_model


def main(arguments: Sequence[str]) -> None:
    """Run ``lid import SOURCE DIR``; ``--source SOURCE --output_dir DIR`` is the same."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--source")
    parser.add_argument("--output_dir")
    given, others = parser.parse_known_args(arguments)
    places = [word for word in (given.source, given.output_dir) if word is not None]
    import_model.main([*others, "--", *places] if places else others)


if __name__ == "__main__":
    run(main)

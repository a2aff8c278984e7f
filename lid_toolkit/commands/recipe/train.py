"""Train a language identification model, in one or more processes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean, non_negative, positive_int
from lid_toolkit.processes import is_member
from lid_toolkit.training.config import load_config
from lid_toolkit.training.sources import Sources, training_step

AGAIN = ("-m", "lid_toolkit.commands", "train")


def main(arguments: Sequence[str], again: Sequence[str] = AGAIN) -> None:
    """Parse the options, then train unless the experiment is up to date.

    Args:
        arguments: the words of the command line.
        again: what starts this command in another process, before its arguments; for several processes.
    """
    options, words = make_parser().parse_known_args(arguments)

    config = load_config(options.config, words)
    out = options.output_dir
    sources = Sources(options.train_dir, options.valid_dir, options.stats_dir, out, options.teacher_dir)
    step = training_step(config, sources)
    if options.plan:
        print(int(step.due()))
        return
    if not is_member() and not step.due(options.dry_run):
        return

    # After the return: torch takes longer to import than it takes to see that the training is finished.
    from lid_toolkit.training.distributed import joined
    from lid_toolkit.training.launch import launch, members
    from lid_toolkit.training.train import train

    if not is_member():
        started = members(options.ngpu, options.num_nodes, config)
        if started.here > 1 or options.num_nodes > 1:
            launch([*again, *arguments], started, options.num_nodes)
            return
    with joined(options.ngpu) as world, contextlib.ExitStack() as stack:
        work = stack.enter_context(step.work("training", lock=out)) if world.main else None
        # All processes use the digests that the main process computed before the training.
        digests = world.gather(None if work is None else work.digests)[0]
        if digests is None:
            return
        if world.main:
            log = logging.FileHandler(out / "train.log", encoding="utf-8")
            log.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
            logging.getLogger().addHandler(log)
        else:
            logging.getLogger().setLevel(logging.WARNING)
        models = train(config, sources, world, 60 * options.checkpoint_minutes, digests)
        if work is not None:
            work.finish(models)


def make_parser() -> OptionParser:
    """Return the parser of the command's options; what it does not know overrides the configuration."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--config", type=Path, required=True, help="training configuration (YAML)")
    parser.add_argument(
        "--train_dir", type=Path, required=True, help="formatted training set: dump/raw/TRAIN"
    )
    parser.add_argument(
        "--valid_dir", type=Path, required=True, help="formatted validation set: dump/raw/VALID"
    )
    parser.add_argument("--stats_dir", type=Path, required=True, help="statistics of both sets")
    parser.add_argument("--output_dir", type=Path, required=True, help="experiment directory to write")
    parser.add_argument(
        "--teacher_dir",
        type=Path,
        help="with distill_from: the teacher's answers to the training set (lid infer)",
    )
    parser.add_argument("--ngpu", default="auto", help="number of GPUs on each machine; auto: all")
    parser.add_argument("--num_nodes", type=positive_int, default=1, help="number of machines")
    parser.add_argument(
        "--checkpoint_minutes", type=non_negative, default=15.0, help="minutes between checkpoints"
    )
    parser.add_argument(
        "--dry_run", type=boolean, default=False, help="only report whether there is work to do"
    )
    parser.add_argument(
        "--plan", type=boolean, default=False, help="only print 1 if there is work to do, otherwise 0"
    )
    return parser

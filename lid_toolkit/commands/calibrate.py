"""``lid calibrate``: fit or compute the calibration of a model's scores, and store it with the model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lid_toolkit.cli import OptionParser, boolean, fraction
from lid_toolkit.commands.model import add_batch_size, add_model, default_model, open_identifier
from lid_toolkit.errors import LidError
from lid_toolkit.files import require_directory
from lid_toolkit.inference.policy import Calibration, DecisionPolicy
from lid_toolkit.inference.preference import SHARE, answer_to_noise, without_preference
from lid_toolkit.steps import Step, digest

if TYPE_CHECKING:
    from lid_toolkit.inference.calibration import Fit, Scored
    from lid_toolkit.inference.prediction import Prediction

METHODS = ("temperature", "affine", "noise")
FITTED_ONLY = ("data_dir", "scores", "only_selection_set", "dry_run")
"""Options without effect on the method that needs no data."""
MEASURED = "after: every fifth of the utterances with a calibration fitted on the others"


def main(arguments: Sequence[str]) -> None:
    """Fit, print the figures before and after, and store the calibration if it is better than none.

    With the scores of an experiment, this is a step that is skipped when it is current.

    Raises:
        LidError: the data are not usable, the model was trained on them, or an option is missing or has no
            effect with the method.
    """
    options = make_parser().parse_args(arguments)
    check_method(options)
    options.model = options.model or default_model()
    if options.method == "noise":
        store_without_preference(options)
        return
    step = step_of(options)
    if options.dry_run:
        if step is None:
            raise LidError("needs a model file and --scores, and no --output", where="--dry_run")
        step.due(dry_run=True)
        return
    require_directory(options.data_dir)
    if step is None:
        fit_and_store(options)
        return
    with step.work("calibrating", lock=None) as work:
        if work is not None:
            work.finish(fit_and_store(options))


def check_method(options: argparse.Namespace) -> None:
    """Raise LidError for an option that the method needs or does not use."""
    if options.method != "noise":
        if options.data_dir is None:
            mend = "name the data to fit on, or use --method noise"
            raise LidError("is missing", where="--data_dir", mend=mend)
        unused = [] if options.share is None else ["share"]
    else:
        unused = [name for name in FITTED_ONLY if getattr(options, name)]
    if unused:
        what = f"has no effect with --method {options.method}"
        raise LidError(what, where=f"--{unused[0]}", mend="leave it out")


def store_without_preference(options: argparse.Namespace) -> None:
    """Take a share of what the model answers to noise off its answers, and store this calibration."""
    from lid_toolkit.inference.locate import model_file_of

    share = SHARE if options.share is None else options.share
    posteriors = answer_to_noise(open_identifier(options))
    best = ", ".join(f"{label} {posterior:.0%}" for label, posterior in list(posteriors.items())[:5])
    print(f"answer to noise: {best}")
    print(f"Taken off all answers: {share:g} of the log posteriors of noise. This may change answers.")
    model = model_file_of(options.model)
    calibration = without_preference(posteriors, share)
    store(options, replace(calibration, model=None if model is None else digest(model)))


def step_of(options: argparse.Namespace) -> Step | None:
    """Return the fit as a step; None unless it is on an experiment's scores and stored beside its model."""
    model = Path(options.model)
    if options.scores is None or options.output is not None or model.suffix != ".pth":
        return None
    return Step(
        f"calibrate {model}",
        model.parent / ".done" / "calibrate.json",
        inputs={
            "model": model,
            "utt2lang": options.data_dir / "utt2lang",
            **{name: options.scores / name for name in ("languages", "scores.scp", "scores.ark")},
        },
        options={"method": options.method, "only_selection_set": options.only_selection_set},
    )


def fit_and_store(options: argparse.Namespace) -> list[Path]:
    """Fit, print the figures, and return the file in which the calibration is stored, if it is."""
    from lid_toolkit.inference.calibration import fitted  # imports torch
    from lid_toolkit.inference.held_out import require_selection_set
    from lid_toolkit.inference.locate import model_file_of

    model = model_file_of(options.model)
    if options.only_selection_set:
        if model is None:
            raise LidError("needs the model of an experiment", where="--only_selection_set")
        require_selection_set(options.data_dir, model.parent)
    check_unseen(options.data_dir, model)
    fit = fitted(scores_of(options, model), options.method)
    print("\n".join(lines_of(fit, options.method)))
    if fit.after.trust.cross_entropy >= fit.before.trust.cross_entropy:
        print("The cross-entropy is not lower, so nothing is stored.")
        return []
    calibration = replace(
        fit.calibration,
        model=None if model is None else digest(model),
        set=options.data_dir.resolve().name,
        set_digest=digest(options.data_dir / "utt2lang"),
    )
    return [store(options, calibration)]


def store(options: argparse.Namespace, calibration: Calibration) -> Path:
    """Store the calibration in the policy of the model, or in ``--output``; return the file."""
    from lid_toolkit.inference.locate import policy_of
    from lid_toolkit.inference.store import store_policy

    policy = replace(policy_of(options.model), calibration=calibration)
    if options.output is not None:
        policy.to_yaml(options.output)
    stored = Path(options.output or store_policy(options.model, policy))
    print(f"stored in {stored}")
    return stored


def check_unseen(data_dir: Path, model: Path | None) -> None:
    """Raise LidError if the model was trained on the data; say so if this is not known."""
    from lid_toolkit.inference.held_out import require_unseen

    if model is None or not require_unseen(data_dir, model.parent):
        print("The training data of the model are not known: make sure that these data are not among them.")


def scores_of(options: argparse.Namespace, model: Path | None) -> Scored:
    """Return the scores of the data: those that are given, else of the identified recordings."""
    from lid_toolkit.inference.held_out import from_records, from_scores
    from lid_toolkit.inference.locate import labels_of

    if options.scores is not None:
        labels = labels_of(options.model)
        return from_scores(options.data_dir, options.scores, labels, None if model is None else digest(model))
    return from_records(options.data_dir, records_of(options), labels_of(options.model))


def records_of(options: argparse.Namespace) -> Iterator[tuple[str, Prediction]]:
    """Yield the id and the record of each utterance, with the posteriors of all languages as they are."""
    from lid_toolkit.inference.bulk import identify_inputs
    from lid_toolkit.inference.inputs.lists import read_data_dir

    lid = open_identifier(options)

    def identify(speech: Iterator[Any]) -> Iterator[Prediction]:
        return lid.identify(speech, options.batch_size, policy=DecisionPolicy(min_seconds=0.0), vad="none")

    return identify_inputs(identify, read_data_dir(options.data_dir))


def lines_of(fit: Fit, method: str) -> list[str]:
    """Return a fit as lines for people."""
    from lid_toolkit.evaluation.calibrated import lines  # imports SciPy

    about = (
        "A temperature never changes answers." if method == "temperature" else "Biases may change answers."
    )
    return [
        f"{method}: scale {fit.calibration.scale:.4f}, temperature {1 / fit.calibration.scale:.4f}",
        *lines(fit.before, fit.after),
        MEASURED,
        f"{about} Answers changed by this one: {fit.changed} of {fit.utterances}.",
    ]


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(
        "Calibrate a model's scores, on data that it was not trained on or by its answer to noise."
    )
    add_model(parser)
    add_batch_size(parser)
    parser.add_argument(
        "--data_dir",
        type=Path,
        help="data directory with the languages of its utterances: data/SET or dump/raw/SET; not for noise",
    )
    parser.add_argument(
        "--scores",
        type=Path,
        help="scores of this set that lid infer wrote: .../MODEL/SET; by default, they are identified",
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="temperature",
        help="temperature: one scale; affine: also a bias for each language; noise: needs no data, biases "
        "against the languages that the model answers to noise",
    )
    parser.add_argument("--share", type=fraction, help=f"noise: share to take off; default: {SHARE}")
    parser.add_argument("--output", type=Path, help="policy file to write, instead of storing with the model")
    parser.add_argument(
        "--only_selection_set",
        type=boolean,
        default=False,
        help="refuse data that did not choose the checkpoint, as lid.sh --calibration does",
    )
    parser.add_argument(
        "--dry_run", type=boolean, default=False, help="only report whether there is work to do"
    )
    return parser

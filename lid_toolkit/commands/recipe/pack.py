"""Pack a model with its labels, scores and figures into one zip file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean
from lid_toolkit.errors import LidError


def main(arguments: Sequence[str]) -> None:
    """Parse the options and pack the model."""
    options = make_parser().parse_args(arguments)

    from lid_toolkit.package.write import Packing, pack

    pack(
        Packing(
            model_file=options.model,
            inference_dirs=tuple(options.inference_dirs),
            output=options.output,
            repository=options.hf_repo or None,
            licence=options.hf_license or None,
            datasets=tuple(options.datasets),
            command=options.command,
            policy=policy_beside(options.model),
            onnx=options.onnx,
            samples=tuple(options.samples),
        ),
        options.dry_run,
    )


def policy_beside(model: Path) -> Mapping[str, object] | None:
    """Return the content of the policy beside a model, complete and checked; None if there is none.

    A policy that is the default one counts as none.

    Raises:
        LidError: the policy is not valid or does not fit the model, or the model cannot be read.
    """
    from lid_toolkit.inference.decision import decider
    from lid_toolkit.inference.policy import DecisionPolicy
    from lid_toolkit.package.format import POLICY
    from lid_toolkit.training.checkpoint import load_labels

    path = model.parent / POLICY
    if not path.exists():
        return None
    policy, labels = DecisionPolicy.from_yaml(path), load_labels(model)
    try:
        decider(policy, labels)
    except LidError as error:
        raise LidError(error.what, where=f"{path}: {error.where}", mend=error.mend) from None
    return policy.to_mapping() or None


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--model", type=Path, required=True, help="checkpoint in its experiment directory")
    parser.add_argument("--output", type=Path, required=True, help="zip file to write")
    parser.add_argument(
        "--inference_dirs",
        type=Path,
        nargs="*",
        default=[],
        help="directories with results to pack: .../MODEL/SET",
    )
    parser.add_argument(
        "--hf_repo", help="repository that the example in the model card loads; by default, the zip file"
    )
    parser.add_argument(
        "--hf_license",
        "--licence",
        help="licence in the model card; by default, that of the imported model or the pretrained encoder, "
        "if it is known; without these, apache-2.0",
    )
    parser.add_argument(
        "--onnx", type=Path, help="the same model, written by lid export --format onnx: packed beside it"
    )
    parser.add_argument(
        "--samples",
        nargs="*",
        default=[],
        help="recordings to try the model with on its page: files, which are packed, or addresses",
    )
    parser.add_argument("--datasets", nargs="*", default=[], help="training data, for the model card")
    parser.add_argument("--command", required=True, help="training command, for the model card")
    parser.add_argument(
        "--dry_run", type=boolean, default=False, help="only report whether the zip file is up to date"
    )
    return parser

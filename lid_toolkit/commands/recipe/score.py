"""Score the results of a system on a set."""

from collections.abc import Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.decided import Policy
from lid_toolkit.evaluation.score import score
from lid_toolkit.inference.decision import decider
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.steps import recorded


def main(arguments: Sequence[str]) -> None:
    """Parse the options and score the results."""
    options = make_parser().parse_args(arguments)
    score(
        options.data_dir,
        options.inference_dir,
        options.dry_run,
        merge=options.merge_macrolanguages,
        espnet_format=options.espnet_files,
        policy=None if options.policy is None else policy_of(options.policy, options.inference_dir),
        unknown_languages=options.unknown_languages,
        cluster_from=options.cluster_from,
    )


def policy_of(path: Path, inference_dir: Path) -> Policy:
    """Return the policy of a file; raise LidError if its calibration is that of another model."""
    policy = DecisionPolicy.from_yaml(path)
    made_by = recorded(inference_dir, "identify").get("model")
    if policy.calibration.model not in (None, made_by):
        mend = "run lid calibrate for this model, or leave the calibration out"
        raise LidError("has the calibration of another model", where=path, mend=mend)
    return Policy(policy.to_mapping(), lambda labels: decider(policy, labels))


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("--data_dir", type=Path, required=True, help="reference labels: dump/raw/SET")
    parser.add_argument(
        "--inference_dir", type=Path, required=True, help="results of the system: .../MODEL/SET"
    )
    parser.add_argument(
        "--merge_macrolanguages",
        type=boolean,
        default=False,
        help="count a macrolanguage and its members (zho and cmn, ara and arz) as one language",
    )
    parser.add_argument(
        "--dry_run", type=boolean, default=False, help="only report whether there is work to do"
    )
    parser.add_argument(
        "--policy",
        type=Path,
        help="decision policy (YAML) that answers; by default, the answer is the most probable language",
    )
    parser.add_argument(
        "--unknown_languages",
        choices=("wrong", "skip"),
        default="wrong",
        help="count utterances in languages that the system does not know as wrong, or leave them out",
    )
    parser.add_argument(
        "--cluster_from",
        metavar="REGEX",
        help="find what utterances of one speaker or recording have in common in their ids, for the "
        "intervals; by default, the speaker in utt2spk",
    )
    parser.add_argument(
        "--espnet_files", type=boolean, default=False, help="write results in the format of ESPnet's recipe"
    )
    return parser

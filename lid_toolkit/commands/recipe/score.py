"""Score the results of a system on a set."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from lid_toolkit.cli import OptionParser, boolean, seconds_list
from lid_toolkit.errors import LidError
from lid_toolkit.evaluation.answers import answers_of_tables
from lid_toolkit.evaluation.clusters import read_clusters
from lid_toolkit.evaluation.decided import Policy
from lid_toolkit.evaluation.espnet_report import espnet_report
from lid_toolkit.evaluation.metrics import Details, evaluate
from lid_toolkit.evaluation.score import Counting, score
from lid_toolkit.evaluation.text_report import text_report
from lid_toolkit.files import write_whole
from lid_toolkit.inference.decision import decider
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.steps import recorded


def main(arguments: Sequence[str]) -> None:
    """Parse the options and score the results."""
    options = make_parser().parse_args(arguments)
    if options.pred_lids is not None or options.target_lids is not None:
        score_tables(options)
        return
    for name in ("data_dir", "inference_dir"):
        if getattr(options, name) is None:
            raise LidError("missing", where=f"--{name}", mend="give it, or --pred_lids and --target_lids")
    policy = None if options.policy is None else read_policy(options.policy, options.inference_dir)
    calibrating = (
        policy if options.calibration is None else read_policy(options.calibration, options.inference_dir)
    )
    counting = Counting(
        merge=options.merge_macrolanguages,
        policy=None if policy is None else applied(policy, policy.to_mapping()),
        unknown_languages=options.unknown_languages,
        cluster_from=options.cluster_from,
        leave_out=None if options.leave_out == "no" else options.leave_out,
        crop_seconds=options.crop_seconds,
        calibration=None if calibrating is None else calibration_of(calibrating),
    )
    score(
        options.data_dir,
        options.inference_dir,
        options.dry_run,
        counting=counting,
        espnet_format=options.espnet_files,
    )


def score_tables(options: Namespace) -> None:
    """Print the report on two tables of labels, or write it to ``--results``."""
    if options.pred_lids is None or options.target_lids is None:
        raise LidError("both tables are needed", where="--pred_lids and --target_lids")
    answers = answers_of_tables(options.pred_lids, options.target_lids)
    clusters = read_clusters(options.target_lids.parent, answers.truth, options.cluster_from)
    evaluation = evaluate(answers, Details(clusters))
    text = espnet_report(evaluation, answers) if options.espnet_files else text_report(evaluation)
    if options.results is None:
        print(text, end="")
        return
    with write_whole(options.results) as stream:
        stream.write(text)


def read_policy(path: Path, inference_dir: Path) -> DecisionPolicy:
    """Return the policy of a file; raise LidError if its calibration is that of another model."""
    policy = DecisionPolicy.from_yaml(path)
    made_by = recorded(inference_dir, "identify").get("model")
    if policy.calibration.model not in (None, made_by):
        mend = "run lid calibrate for this model, or leave the calibration out"
        raise LidError("has the calibration of another model", where=path, mend=mend)
    return policy


def applied(policy: DecisionPolicy, settings: Mapping[str, object]) -> Policy:
    """Return a policy, with its settings as plain values, for the evaluation."""
    return Policy(settings, lambda labels: decider(policy, labels))


def calibration_of(policy: DecisionPolicy) -> Policy | None:
    """Return the calibration of a policy alone; None if it changes no scores."""
    calibration = policy.calibration
    if not calibration.changes:
        return None
    return applied(DecisionPolicy(calibration=calibration), calibration.to_mapping())


def make_parser() -> OptionParser:
    """Return the parser of the command's options."""
    parser = OptionParser(__doc__)
    parser.add_argument("--data_dir", type=Path, help="reference labels: dump/raw/SET")
    parser.add_argument("--inference_dir", type=Path, help="results of the system: .../MODEL/SET")
    parser.add_argument(
        "--pred_lids", type=Path, help="score the answers of any system, a table of utterances and languages"
    )
    parser.add_argument("--target_lids", type=Path, help="the true languages of --pred_lids, as in utt2lang")
    parser.add_argument("--results", type=Path, help="file for that report, instead of printing it")
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
        "--calibration",
        type=Path,
        help="policy file whose calibration is reported before and after, such as EXP/policy.yaml; answers "
        "do not change; by default, that of --policy",
    )
    parser.add_argument(
        "--leave_out",
        choices=("folds", "each", "no"),
        default="folds",
        help="leave known languages out to measure how well unknown ones are told: a fifth of them at a "
        "time, each alone, or none",
    )
    parser.add_argument(
        "--crop_seconds",
        type=seconds_list,
        default=(),
        metavar="LIST",
        help="durations of the crops that lid infer identified, such as '1 2 3 5 10': accuracy by seconds",
    )
    parser.add_argument(
        "--espnet_files", type=boolean, default=False, help="write results in the format of ESPnet's recipe"
    )
    return parser

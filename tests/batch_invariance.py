#!/usr/bin/env python3
"""How much an answer depends on its batch, for every front end, encoder and pooling; prints a table.

    tests/batch_invariance.py [--longest 3] [--frontends default,hubert] [--encoders nemo_conv] [--json FILE]

Small models with random weights identify 17 utterances (beeps in noise) of 10 ms to ``--longest``, in batches
of 1, 3 and 17 with 1 and 2 threads, padded with large values. A figure is the largest difference of any log
posterior or component of an embedding from those of the utterance alone on 1 thread, in the same number
format. ``from float32`` is the largest difference between the two formats; it is not 0 if autocast has an
effect. With 30 s, a front end takes one or two minutes on two free cores.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from importers.onnx_files import moments_model
from models.combinations import BANDS, CLASSES, ENCODERS, FRONTENDS, POOLINGS
from models.pretrained_encoders import KINDS, save_tiny
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from lid_toolkit.cli import OptionParser, non_negative, run
from lid_toolkit.errors import LidError
from lid_toolkit.files import write_whole
from lid_toolkit.models.build import build_component, build_frontend, one_frame_per_utterance
from lid_toolkit.models.normalize import UtteranceMVN

UTTERANCES, SHORTEST = 17, 0.01
FRAMES_A_SECOND = 50
SCORES = 36
"""Languages of the ONNX models; `ska_tdnn` needs a multiple of 4 features."""
GARBAGE = 1e3


@dataclass(frozen=True)
class Setting:
    """How the utterances are identified."""

    batch_size: int
    threads: int
    bfloat16: bool


@dataclass(frozen=True)
class Difference:
    """Largest differences of the answers of a model; ``reason`` says why it cannot be built."""

    float32: float = 0.0
    bfloat16: float = 0.0
    from_float32: float = 0.0
    reason: str = ""


SETTINGS = [
    Setting(size, threads, narrow)
    for narrow in (False, True)
    for size, threads in itertools.product((1, 3, 17), (1, 2))
]
Batch = tuple[Tensor, Tensor]


def all_frontends(folder: Path) -> dict[str, dict[str, Any]]:
    """Return descriptions of all front ends; tiny pretrained encoders are saved in ``folder``."""
    rows: dict[str, dict[str, Any]] = {
        str(name): {"frontend": name, "frontend_conf": conf, "input_size": None if name else BANDS}
        for name, conf in FRONTENDS.items()
    }
    for kind in KINDS:
        rows[kind] = {
            "frontend": "transformers",
            "frontend_conf": {"path_or_url": str(save_tiny(folder, kind))},
        }
    upstream = {"upstream": "hf_wav2vec2_custom", "path_or_url": str(folder / "xlsr")}
    rows["s3prl"] = {"frontend": "s3prl", "frontend_conf": {"frontend_conf": upstream}}
    multilingual = save_tiny(folder / "multilingual", "whisper", vocab_size=51865)
    conf = {"path_or_url": str(multilingual), "languages": ["eng", "deu", "fra"]}
    rows["whisper_language"] = {"frontend": "whisper_language", "frontend_conf": conf}
    return {**rows, "onnx_scores": onnx_row(True), "onnx_scores one by one": onnx_row(False)}


def onnx_row(with_lengths: bool) -> dict[str, Any]:
    """Return the description of a front end of ONNX, with its graph."""
    graph = torch.frombuffer(bytearray(moments_model(SCORES, with_lengths)), dtype=torch.uint8)
    conf = {"graph_bytes": len(graph), "outputs": SCORES}
    return {"frontend": "onnx_scores", "frontend_conf": conf, "weights": {"graph_n": graph}}


def utterances(frontend: Any, has_waves: bool, seconds: Sequence[float]) -> list[Tensor]:
    """Return beeps in noise in an order unlike that of their lengths, or features without a front end."""
    generator = torch.Generator().manual_seed(0)
    rate = frontend.hop_length * FRAMES_A_SECOND if frontend.hop_length < 160 else 16000
    signals = []
    for number in torch.randperm(len(seconds), generator=generator).tolist():
        if not has_waves:
            frames = max(round(seconds[number] * FRAMES_A_SECOND), 1)
            signals.append(torch.randn(frames, BANDS, generator=generator))
            continue
        times_t = torch.arange(round(seconds[number] * rate)) / rate
        beeps_t = (6.28 * (200 + 90 * number) * times_t).sin() * ((3 * times_t).frac() < 0.6)
        signals.append(0.3 * beeps_t + 0.03 * torch.randn(len(times_t), generator=generator))
    return signals


def lengths(longest: float) -> list[float]:
    """Return the lengths of the utterances in seconds, from ``SHORTEST`` to ``longest`` at one ratio."""
    return [SHORTEST * (longest / SHORTEST) ** (step / (UTTERANCES - 1)) for step in range(UTTERANCES)]


def batches(signals: list[Tensor], size: int) -> Iterator[Batch]:
    """Divide the utterances into batches, ``GARBAGE`` wherever there is no signal."""
    for start in range(0, len(signals), size):
        chosen = signals[start : start + size]
        yield (
            pad_sequence(chosen, batch_first=True, padding_value=GARBAGE),
            torch.tensor([len(signal) for signal in chosen]),
        )


def lively(module: nn.Module) -> nn.Module:
    """Draw batch norms' statistics and weights: those of a new model hide faults. Set evaluation mode."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(part.running_mean, std=0.3)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias, std=0.3)
    return module.eval()


def build(
    row: Mapping[str, Any], encoders: Sequence[str], poolings: Sequence[str]
) -> tuple[Any, dict[str, Any], dict[tuple[str, str], Any], dict[tuple[str, str], str]]:
    """Return the front end, the encoders, each pooling with its classifier, and why others are missing."""
    torch.manual_seed(0)
    frontend: Any = build_frontend(row)
    frontend.load_state_dict(row.get("weights", {}), strict=False)
    if row["frontend"] in FRONTENDS:
        lively(frontend)
    made: dict[str, Any] = {}
    heads: dict[tuple[str, str], Any] = {}
    reasons: dict[tuple[str, str], str] = {}
    for name, pooling in itertools.product(encoders, poolings):
        try:
            if name not in made:
                sizes = {"input_size": frontend.output_size}
                made[name] = lively(build_component("encoder", name, ENCODERS[name], sizes))
            sizes = {"input_size": made[name].output_size}
            pool: Any = lively(build_component("pooling", pooling, POOLINGS[pooling], sizes))
        except LidError as error:
            reasons[name, pooling] = str(error)
            continue
        project = lively(
            build_component("projector", "rawnet3", {"output_size": 8}, {"input_size": pool.output_size})
        )
        heads[name, pooling] = (pool, project, nn.Linear(8, CLASSES, bias=False))
    return frontend.eval(), made, heads, reasons


@torch.inference_mode()
def measure(
    row: Mapping[str, Any],
    seconds: Sequence[float],
    encoders: Sequence[str] = tuple(ENCODERS),
    poolings: Sequence[str] = tuple(POOLINGS),
    settings: Sequence[Setting] = tuple(SETTINGS),
) -> dict[tuple[str, str], Difference]:
    """Return the differences of a front end with each encoder and pooling.

    Args:
        row: description of the front end.
        seconds: lengths of the utterances.
        encoders: names of encoders.
        poolings: names of poolings.
        settings: how they are identified; the first of each number format is what others differ from.
    """
    frontend, made, heads, reasons = build(row, encoders, poolings)
    signals = utterances(frontend, row["frontend"] is not None, seconds)
    one_frame = one_frame_per_utterance(row)
    answers: dict[tuple[str, str], dict[Setting, list[Tensor]]] = {pair: {} for pair in heads}
    before = torch.get_num_threads()
    for setting in settings:
        torch.set_num_threads(setting.threads)
        with torch.autocast("cpu", torch.bfloat16, enabled=setting.bfloat16):
            for batch in batches(signals, setting.batch_size):
                feats_btd, frames_b = frontend(*batch)
                for name, encoder in made.items():
                    plain = one_frame or name == "identity"  # its means would be rounding errors
                    normal_btd = (
                        feats_btd if plain else UtteranceMVN(frontend.output_size)(feats_btd, frames_b)
                    )
                    encoded = encoder(normal_btd, frames_b)
                    for pooling in poolings:
                        if (name, pooling) in heads:
                            answer = identify(*heads[name, pooling], encoded)
                            answers[name, pooling].setdefault(setting, []).append(answer)
    torch.set_num_threads(before)
    found = {
        pair: difference({key: torch.cat(parts) for key, parts in answers[pair].items()}) for pair in heads
    }
    return {**found, **{pair: Difference(reason=reason) for pair, reason in reasons.items()}}


def identify(pool: Any, project: Any, classify: nn.Linear, encoded: Batch) -> Tensor:
    """Return the log posteriors and the normalised embeddings side by side, float32."""
    embedding_bd = F.normalize(project(pool(*encoded)).float())
    with torch.autocast("cpu", enabled=False):
        return torch.cat((classify(embedding_bd).log_softmax(dim=1), embedding_bd), dim=1)


def difference(answers: Mapping[Setting, Tensor]) -> Difference:
    """Compare the answers of each number format to the first one."""
    narrow = [answer for setting, answer in answers.items() if setting.bfloat16]
    wide = [answer for setting, answer in answers.items() if not setting.bfloat16]

    def largest(several: Sequence[Tensor], one: Tensor) -> float:
        return max(float((answer - one).abs().nan_to_num(torch.inf).max()) for answer in several)

    return Difference(largest(wide, wide[0]), largest(narrow, narrow[0]), largest(narrow[:1], wide[0]))


def main(arguments: Sequence[str]) -> None:
    """Measure all models, and print each front end with each encoder at once."""
    parser = OptionParser(__doc__ or "")
    parser.add_argument("--frontends", help="names separated by commas; default: all")
    parser.add_argument("--encoders", help="names separated by commas; default: all")
    parser.add_argument("--longest", type=non_negative, default=30.0, help="seconds of the longest utterance")
    parser.add_argument("--json", type=Path, default=Path("exp/batch_invariance.json"), help="output file")
    options = parser.parse_args(arguments)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = {}
    encoders = options.encoders.split(",") if options.encoders else list(ENCODERS)
    print("| front end | encoder | float32 | bfloat16 | from float32 |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, row in all_frontends(Path(folder)).items():
            if options.frontends and name not in options.frontends.split(","):
                continue
            found = measure(row, lengths(options.longest), encoders)
            kept[name] = {" ".join(pair): asdict(value) for pair, value in found.items()}
            for encoder in encoders:
                print(line(name, encoder, [found[encoder, pooling] for pooling in POOLINGS]), flush=True)
            with write_whole(options.json) as stream:
                json.dump(kept, stream, indent=1)


def line(frontend: str, encoder: str, several: Sequence[Difference]) -> str:
    """Return a row of the table: the largest figures of all poolings."""
    missing = [one.reason for one in several if one.reason]
    if missing:
        return f"| {frontend} | {encoder} | {missing[0]} | | |"
    worst = (max(getattr(one, key) for one in several) for key in ("float32", "bfloat16", "from_float32"))
    return f"| {frontend} | {encoder} | " + " | ".join(f"{value:.0e}" for value in worst) + " |"


if __name__ == "__main__":
    run(main)

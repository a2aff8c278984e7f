"""Audio classifiers of transformers give here the answers they give there, alone and in padded batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from models.pretrained_encoders import CONVOLUTIONS, SIZES, WHISPER
from safetensors.torch import load_file, save_file

from lid_toolkit.errors import LidError
from lid_toolkit.hub.import_model import import_model
from lid_toolkit.inference.locate import labels_of, open_model
from lid_toolkit.package.licences import model_licence
from lid_toolkit.training.checkpoint import SavedModel, load_model

LABELS = {0: "fr", 1: "Czech", 2: "jw", 3: "Dialect 7", 4: "swh"}
LAYERED = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WAVE = {**SIZES, **CONVOLUTIONS}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2": ("Wav2Vec2", WAVE),
    "xlsr": ("Wav2Vec2", {**WAVE, **LAYERED}),
    "mms": ("Wav2Vec2", {**WAVE, **LAYERED, "adapter_attn_dim": 8}),
    "hubert": ("Hubert", WAVE),
    "wavlm": ("WavLM", {**WAVE, "num_buckets": 20, "max_bucket_distance": 40}),
    "w2v-bert": ("Wav2Vec2Bert", SIZES),
    "whisper": ("Whisper", {**WHISPER, "max_source_positions": 50}),
}
WHISPER_WINDOW = 16000
LENGTHS = (16000, 9000, 12345)


def write_classifier(folder: Path, kind: str, **changes: Any) -> Any:
    """Save a tiny classifier with random weights as transformers saves it; return it."""
    family, conf = KINDS[kind]
    torch.manual_seed(3)
    more = {"id2label": LABELS, "label2id": {v: k for k, v in LABELS.items()}, "classifier_proj_size": 12}
    config = getattr(transformers, f"{family}Config")(**{**conf, **more, **changes})
    head = "ForAudioClassification" if family == "Whisper" else "ForSequenceClassification"
    model = getattr(transformers, family + head)(config).eval()
    with torch.no_grad():  # larger than their usual start, so that faults show
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or name == "layer_weights":
                parameter.normal_(std=0.3)
            elif parameter.dim() > 1 and "embed_positions" not in name:
                parameter.mul_(3.0)
    model.save_pretrained(folder)
    extractor(kind).save_pretrained(folder)
    return model


def extractor(kind: str) -> Any:
    """Return the feature extractor of such checkpoints on the Hub."""
    if kind == "w2v-bert":
        return transformers.SeamlessM4TFeatureExtractor()
    if kind == "whisper":
        return transformers.WhisperFeatureExtractor(chunk_length=1)
    layered = kind in ("xlsr", "mms")
    return transformers.Wav2Vec2FeatureExtractor(do_normalize=layered, return_attention_mask=layered)


def waves() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [
        (generator.normal(size=length) * np.sin(np.arange(length) / 3000) / 5).astype(np.float32)
        for length in LENGTHS
    ]


@torch.no_grad()
def their_posteriors(model: Any, kind: str, batch: list[np.ndarray]) -> torch.Tensor:
    padding: Any = "max_length" if kind == "whisper" else True
    inputs = extractor(kind)(batch, sampling_rate=16000, return_tensors="pt", padding=padding)
    return model(**inputs).logits.log_softmax(dim=1)


@torch.no_grad()
def summed_after_the_last_norm(model: Any, kind: str, wave: np.ndarray) -> torch.Tensor:
    """Return the answer of a classifier that weights its layers, as versions 4 of transformers compute it.

    There, the last of the states is normalised if the encoder has a norm at its end. Versions 5 take it
    before this norm, which is not how such classifiers on the Hub were trained.
    """
    inputs = extractor(kind)([wave], sampling_rate=16000, return_tensors="pt")
    made = model.wav2vec2(**inputs, output_hidden_states=True)
    states_ltd = torch.cat([*made.hidden_states[:-1], made.last_hidden_state])
    mixed_td = torch.tensordot(model.layer_weights.softmax(dim=0), states_ltd, 1)
    return model.classifier(model.projector(mixed_td).mean(dim=0)).log_softmax(dim=0)[None]


@torch.no_grad()
def our_answers(saved: SavedModel, batch: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log posteriors and embeddings of a padded batch."""
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(wave) for wave in batch], batch_first=True)
    return saved.model.identify(padded, torch.tensor([len(wave) for wave in batch]))


def our_posteriors(saved: SavedModel, batch: list[np.ndarray]) -> torch.Tensor:
    return our_answers(saved, batch)[0]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_transformers(kind, weighted, tmp_path):
    model = write_classifier(tmp_path, kind, use_weighted_layer_sum=weighted)
    saved, batch = open_model(tmp_path), waves()
    assert saved.languages == ("fra", "ces", "jav", "Dialect_7", "swh")
    normed = weighted and kind in ("xlsr", "mms")
    pooled: list[torch.Tensor] = []
    model.classifier.register_forward_pre_hook(lambda _, given: pooled.append(given[0].view(1, -1)))
    alone = torch.cat(
        [
            summed_after_the_last_norm(model, kind, wave) if normed else their_posteriors(model, kind, [wave])
            for wave in batch
        ]
    )
    ours, embeddings = our_answers(saved, batch)
    assert torch.allclose(ours, alone, atol=1e-5)
    assert torch.allclose(embeddings, torch.nn.functional.normalize(torch.cat(pooled)), atol=1e-5)
    assert (alone.exp().amax(dim=0) - alone.exp().amin(dim=0)).max() > 5e-4  # or nothing was compared
    if kind in ("xlsr", "mms", "whisper") and not normed:  # these ask for a mask: their batches are exact too
        assert torch.allclose(ours, their_posteriors(model, kind, batch), atol=1e-5)


def test_a_model_with_group_normalisation_answers_in_a_batch_as_it_does_alone(tmp_path):
    """In transformers it reads the padding; here a padded batch equals single recordings."""
    model = write_classifier(tmp_path, "wav2vec2")
    batch = waves()
    theirs = their_posteriors(model, "wav2vec2", batch)
    ours = our_posteriors(open_model(tmp_path), batch)
    assert torch.allclose(ours[0], theirs[0], atol=1e-5)  # the longest one has no padding
    assert not torch.allclose(ours[1], theirs[1], atol=1e-3)


def test_recordings_longer_than_whispers_window_count_as_windows(tmp_path):
    """The pooled vector of two windows is the mean of theirs."""
    model = write_classifier(tmp_path, "whisper")
    first, second = waves()[0], waves()[1]
    long = np.concatenate([first, second])
    with torch.no_grad():
        pooled = []
        for part in (first, second):
            inputs = extractor("whisper")([part], sampling_rate=16000, return_tensors="pt")
            states = model.encoder(inputs["input_features"]).last_hidden_state
            pooled.append(model.projector(states).mean(dim=1))
        expected = model.classifier(sum(pooled) / 2).log_softmax(dim=1)
    saved = open_model(tmp_path)
    assert torch.allclose(our_posteriors(saved, [long]), expected, atol=1e-5)
    both = our_posteriors(saved, [second, long])
    assert torch.allclose(both[1:], expected, atol=1e-5)


@pytest.mark.parametrize("layout", ["bin", "shards", "half", "old names"])
def test_weights_in_every_layout(layout, tmp_path):
    write_classifier(tmp_path, "xlsr")
    expected = our_posteriors(open_model(tmp_path), waves())
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    tolerance = 0.0
    if layout == "bin":
        file.unlink()
        torch.save(weights, tmp_path / "pytorch_model.bin")
    elif layout == "shards":
        file.unlink()
        names = sorted(weights)
        shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
        for shard, inside in shards.items():
            save_file({name: weights[name] for name in inside}, tmp_path / shard)
        listed = {name: shard for shard, inside in shards.items() for name in inside}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": listed}))
    elif layout == "half":
        save_file({name: weight.half() for name, weight in weights.items()}, file)
        tolerance = 0.05
    else:
        old = {"original0": "weight_g", "original1": "weight_v"}
        renamed = dict(weights)
        for new, former in old.items():
            key = f"wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.{new}"
            renamed[f"wav2vec2.encoder.pos_conv_embed.conv.{former}"] = renamed.pop(key)
        save_file(renamed, file)
    assert torch.allclose(our_posteriors(open_model(tmp_path), waves()), expected, atol=tolerance)


def changed_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["Wav2Vec2ForCTC"]}, "Wav2Vec2ForCTC does not classify recordings"),
        ({"architectures": []}, "a bare encoder does not classify recordings"),
        ({"model_type": "data2vec-audio"}, "type 'data2vec-audio' is not supported"),
        ({"add_adapter": True}, "add_adapter: true is not supported"),
        ({"id2label": {"0": "fra", "2": "ces"}}, "id2label in config.json does not list"),
        ({"id2label": None}, "id2label in config.json does not list"),
        ({"id2label": {"0": "fra", "1": "ces"}}, "parameters do not fit config.json, such as loss"),
        ({"num_hidden_layers": 4}, "parameters do not fit config.json, such as frontend.upstream.encoder"),
        ({"hidden_size": "x"}, "config.json has values that are not valid"),
        ({"hidden_size": 2**20}, "much larger than its weights"),
    ],
)
def test_what_cannot_be_taken_is_one_line(changes, message, tmp_path):
    write_classifier(tmp_path, "wav2vec2")
    changed_config(tmp_path, **changes)
    with pytest.raises(LidError) as caught:
        open_model(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", b"\x00" * 40, "is damaged, or holds more than tensors"),
        ("model.safetensors", None, "is missing"),
        ("preprocessor_config.json", b"[1]", "preprocessor_config.json is not JSON: not an object"),
        ("preprocessor_config.json", b"{", "preprocessor_config.json is not JSON"),
    ],
)
def test_damaged_files_are_one_line(file, content, message, tmp_path):
    write_classifier(tmp_path, "hubert")
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(LidError, match=message):
        open_model(tmp_path)


def test_code_of_the_author_is_not_run(tmp_path):
    write_classifier(tmp_path, "wav2vec2")
    (tmp_path / "code.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    code = {"AutoConfig": "code.A", "AutoModelForAudioClassification": "code.A"}
    changed_config(tmp_path, auto_map=code, attn_implementation="someone/kernels")
    assert len(open_model(tmp_path).languages) == 5
    assert not (tmp_path / "ran").exists()


def test_the_licence_is_said(tmp_path, caplog):
    folder = tmp_path / "mms-lid-9"
    write_classifier(folder, "mms")
    with caplog.at_level("INFO"):
        assert open_model(folder).description.get("licence") is None
    assert "its licence is unknown" in caplog.text
    (folder / "README.md").write_text("---\ntags:\n- mms\nlicense: cc-by-nc-4.0\n---\n# MMS\n")
    with caplog.at_level("INFO"):
        assert open_model(folder).description["licence"] == "cc-by-nc-4.0"
    assert "its licence is cc-by-nc-4.0" in caplog.text
    assert "stay: Dialect_7" in caplog.text


def test_the_licence_stays_with_an_imported_model(tmp_path):
    folder = tmp_path / "theirs"
    write_classifier(folder, "xlsr")
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    saved = load_model(import_model(folder, tmp_path / "exp"))
    assert model_licence(saved.description) == "cc-by-nc-4.0"
    assert torch.equal(our_posteriors(saved, waves()), our_posteriors(open_model(folder), waves()))


def test_labels_of_a_folder(tmp_path):
    write_classifier(tmp_path, "wavlm")
    assert labels_of(tmp_path) == ("fra", "ces", "jav", "Dialect_7", "swh")

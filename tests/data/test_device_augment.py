"""Distortions of a padded batch equal those of each utterance alone, made by the readers' functions."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from data.corpus import LANGUAGES, RATE, write_set

from lid_toolkit.augment.distortions import coloured_noise, equaliser, random_room, white_spectrum
from lid_toolkit.augment.drawn import Drawn, Noise, distorted
from lid_toolkit.data.device_augment import Later, collate, distort
from lid_toolkit.data.loader import MinibatchReader, iterate
from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.data.samplers import Sampler
from lid_toolkit.data.sampling import Corpus, catpow
from lid_toolkit.data.utterances import load_utterances

LENGTHS = (1, 2, 700, 16000, 9000, 15999)
TOLERANCE = 2e-6  # of a waveform whose largest sample is 1


def speech(samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def white(samples, rng):
    return white_spectrum(samples, rng)


def recorded(samples, rng):
    return Noise(speech(samples, int(rng.integers(1000))), rng.uniform(-5, 20))


def made(samples, rng):
    return Noise(white(samples, rng), rng.uniform(-5, 20), rng.uniform(0, 2))


DRAWS = {
    "nothing": lambda *_: Drawn(),
    "room": lambda _, rng: Drawn(room=random_room(RATE, rng.uniform(0.01, 0.7), 3.0, rng)),
    "recorded noise": lambda n, rng: Drawn(noises=(recorded(n, rng),)),
    "babble": lambda n, rng: Drawn(noises=tuple(recorded(n, rng) for _ in range(rng.integers(4)))),
    "synthesised noise": lambda n, rng: Drawn(noises=(made(n, rng),)),
    "equaliser": lambda _, rng: Drawn(equaliser=equaliser(rng.uniform(-10, 10, 8))),
    "level": lambda _, rng: Drawn(peak_db=rng.uniform(-30, 0)),
    "all": lambda n, rng: Drawn(
        room=random_room(RATE, 0.2, 3.0, rng),
        noises=(made(n, rng),),
        equaliser=equaliser(rng.uniform(-10, 10, 8)),
        peak_db=-3.0,
    ),
}


def padded(waves):
    batch = torch.zeros(len(waves), max(map(len, waves)))
    for row, wave in enumerate(waves):
        batch[row, : len(wave)] = torch.from_numpy(wave)
    return batch


def batch_of(waves, drawn, starts=None, kept=None):
    starts = starts or [0] * len(waves)
    lengths = torch.tensor(kept or [len(wave) for wave in waves])
    laters = [Later(d, len(w), s) for d, w, s in zip(drawn, waves, starts, strict=True)]
    return distort(padded(waves), lengths, collate(laters))


def assert_alike(found, expected):
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.abs(found[: len(expected)].numpy() - expected).max() < TOLERANCE * scale
    assert not found[len(expected) :].any()


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("every", [1, 2])
def test_a_batch_equals_its_utterances_alone(name, every):
    rng = np.random.default_rng(0)
    waves = [speech(samples, seed) for seed, samples in enumerate(LENGTHS)]
    drawn = [DRAWS[name](len(w), rng) if row % every == 0 else Drawn() for row, w in enumerate(waves)]
    before = padded(waves)
    found = batch_of(waves, drawn)
    for row, (wave, one) in enumerate(zip(waves, drawn, strict=True)):
        assert_alike(found[row], distorted(wave, one, RATE))
    assert torch.equal(found, before) == (name == "nothing")


@pytest.mark.parametrize("name", ["room", "recorded noise", "synthesised noise", "equaliser", "level", "all"])
def test_silence_stays_silent_and_silent_noise_adds_nothing(name):
    rng = np.random.default_rng(0)
    quiet, wave = np.zeros(800, np.float32), speech(900)
    found = batch_of(
        [quiet, wave], [DRAWS[name](800, rng), Drawn(noises=(Noise(np.zeros(900, np.float32), 0.0),))]
    )
    assert not found[0].any()
    assert torch.equal(found[1], torch.from_numpy(wave))


def test_a_crop_is_made_after_the_distortions():
    wave, other, one = (
        speech(5000),
        speech(3000, 1),
        Drawn(room=random_room(RATE, 0.2, 3.0, np.random.default_rng(0))),
    )
    found = batch_of([wave, other], [one, one], [1234, 0], [3000, 2000])
    assert found.shape == (2, 3000)
    assert_alike(found[0], distorted(wave, one, RATE)[1234:4234])
    assert_alike(found[1], distorted(other, one, RATE)[:2000])


def test_synthesised_noise_of_the_same_spectrum_is_the_readers():
    spectrum = white(3000, np.random.default_rng(0))
    wave = speech(3000)
    found = batch_of([wave], [Drawn(noises=(Noise(spectrum, 0.0, 1.0),))])[0].numpy() - wave
    noise = coloured_noise(spectrum, 1.0, 3000)
    assert np.corrcoef(found, noise)[0, 1] == pytest.approx(1, abs=1e-5)
    assert np.mean(found**2) == pytest.approx(np.mean(wave**2), rel=1e-4)


def test_autocast_does_not_coarsen_the_batch():
    waves, drawn = [speech(4000)], [DRAWS["all"](4000, np.random.default_rng(0))]
    exact = batch_of(waves, drawn)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(batch_of(waves, drawn), exact)


CONFS = {
    "everything": {
        f"{name}_apply_prob": 0.6 for name in ("voice", "rir", "noise", "equalizer", "telephone", "volume")
    },
    "babble": {"noise_info": [[1.0, "{list}", [1, 3], [0, 10]]], "rir_apply_prob": 0.5},
}


@pytest.mark.parametrize(("crop", "workers"), [((2000, 3000), 0), ((2000, 3000), 1), (None, 0)])
@pytest.mark.parametrize("name", CONFS)
def test_training_batches_are_the_same_wherever_they_are_augmented(tmp_path, name, workers, crop):
    directory = write_set(tmp_path / "set", 12)
    soundfile.write(tmp_path / "noise.wav", speech(40000), RATE)
    (tmp_path / "noise.scp").write_text(f"n {tmp_path}/noise.wav\n")
    utterances = load_utterances(directory, directory / "utt2num_samples", LANGUAGES)
    law = catpow(Corpus(utterances.labels_u, utterances.lengths_u))
    sampler = Sampler(law, utterances.lengths_u, 24000, crop_range=crop, draws=24)
    batches = sampler.epoch(1)

    def inputs(where):
        keys = {**CONFS[name], "augment_on": where}
        if "noise_info" in keys:
            keys["noise_info"] = [[1.0, str(tmp_path / "noise.scp"), *keys["noise_info"][0][2:]]]
        reader = MinibatchReader(utterances, batches, PreprocessorConf(**keys), RATE)
        return list(iterate(reader, 0, workers))

    changed = 0
    for reader, device in zip(inputs("readers"), inputs("device"), strict=True):
        assert torch.equal(reader.lengths_b, device.lengths_b)
        assert torch.equal(reader.rows_b, device.rows_b)
        assert reader.samples == device.samples
        expected_bt, wave_bt = (batch.model_inputs(torch.device("cpu"))[0] for batch in (reader, device))
        assert torch.allclose(wave_bt, expected_bt, atol=1e-5)
        changed += device.distortions is not None and reader.distortions is None
    assert changed

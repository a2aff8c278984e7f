"""Models of other toolkits with random weights, and how their own commands identify with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from processes import Figures, python
from settings import ECAPA_512

SCRIPTS = Path("benchmarks/peers")
# In the form of speechbrain/lang-id-voxlingua107-ecapa.
HYPERPARAMETERS = """\
pretrained_path: {folder}
n_mels: 60
out_n_neurons: {languages}
compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
embedding_model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    channels: [1024, 1024, 1024, 1024, 3072]
    kernel_sizes: [5, 3, 3, 3, 1]
    dilations: [1, 2, 3, 4, 1]
    attention_channels: 128
    lin_neurons: 256
classifier: !new:speechbrain.lobes.models.Xvector.Classifier
    input_shape: [null, null, 256]
    activation: !name:torch.nn.LeakyReLU
    lin_blocks: 1
    lin_neurons: 512
    out_neurons: !ref <out_n_neurons>
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    classifier: !ref <classifier>
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
        classifier: !ref <classifier>
        label_encoder: !ref <label_encoder>
    paths:
        embedding_model: !ref <pretrained_path>/embedding_model.ckpt
        classifier: !ref <pretrained_path>/classifier.ckpt
        label_encoder: !ref <pretrained_path>/label_encoder.txt
"""


class Espnet:
    """ESPnet's ``lid_inference`` with ECAPA-TDNN 512."""

    def __init__(self, interpreter: Path, scratch: Path, languages: int) -> None:
        """Write the model to ``scratch/espnet``."""
        self.interpreter, self.directory = interpreter, scratch / "espnet"
        self.directory.mkdir()
        lines = [f"l{number:03d} u{number:03d}\n" for number in range(languages)]
        (self.directory / "lang2utt").write_text("".join(lines))
        config = self.directory / "train.yaml"
        config.write_text(yaml.safe_dump({**ECAPA_512, "preprocessor": "lid"}))
        python(
            SCRIPTS / "espnet_identify.py",
            *("make", config, self.directory, languages),
            interpreter=interpreter,
        )

    def identify(self, paths: Sequence[Path], batch_size: int, notes: Path) -> Figures:
        """Identify recordings in this order; ``notes`` receives the CPU seconds of the loop."""
        results = self.directory / "results"
        table = self.directory / "set" / "wav.scp"
        table.parent.mkdir(exist_ok=True)
        table.write_text("".join(f"{place:05d} {path}\n" for place, path in enumerate(paths)))
        labels = table.with_name("utt2lang")
        labels.write_text("".join(f"{place:05d} l000\n" for place in range(len(paths))))
        results.mkdir(exist_ok=True)
        for old in results.glob("*"):  # else ESPnet continues where it ended
            old.unlink()
        words = ["--output_dir", results, "--valid_batch_size", batch_size, "--num_workers", 0]
        words += ["--fix_duration", "false"]  # else it identifies 3 s of each
        words += ["--data_path_and_name_and_type", f"{table},speech,sound"]
        words += ["--data_path_and_name_and_type", f"{labels},lid_labels,text"]  # it fails without labels
        words += ["--lid_train_config", self.directory / "config.yaml"]
        words += ["--lid_model_file", self.directory / "model.pth"]
        return python(SCRIPTS / "espnet_identify.py", notes, *words, interpreter=self.interpreter)


class SpeechBrain:
    """SpeechBrain's ``EncoderClassifier`` with ECAPA-TDNN 1024."""

    def __init__(self, interpreter: Path, scratch: Path, languages: int) -> None:
        """Write the model to ``folder``."""
        self.interpreter, self.folder = interpreter, scratch / "speechbrain"
        self.folder.mkdir()
        (self.folder / "hyperparams.yaml").write_text(
            HYPERPARAMETERS.format(folder=self.folder, languages=languages)
        )
        python(SCRIPTS / "speechbrain_identify.py", "make", self.folder, interpreter=interpreter)

    def identify(self, paths: Sequence[Path], batch_size: int, notes: Path) -> Figures:
        """Identify recordings in this order; ``notes`` receives the CPU seconds of the loop."""
        words = (notes, self.folder, batch_size, *paths)
        return python(SCRIPTS / "speechbrain_identify.py", *words, interpreter=self.interpreter)

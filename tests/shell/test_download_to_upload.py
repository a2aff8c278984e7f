"""One command from download to upload: VoxLingua107 in miniature, all ten stages, two loopback servers."""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from hub.hub_server import Hub
from hub.hub_server import serving as serving_hub
from local_voxlingua107 import SEGMENTS, lay_zips, stem, videos_of, wav, write_zip
from local_web import Server
from local_web import serving as serving_files
from package.packed import answers, hub_settings
from shell.recipe import Recipe, lay_recipe

from lid_toolkit.datadir.tables.table import read_table

TINY = (
    "--encoder_conf.ndim 32 --encoder_conf.output_size 48 --projector_conf.output_size 16 "
    "--max_epoch 1 --num_iters_per_epoch 2 --num_workers 0"
)
OPTIONS = (
    *("--corpus", "voxlingua107", "--nj", "1", "--ngpu", "0", "--extract_embd", "true", "--lid_tag", "tiny"),
    *("--lid_config", "conf/mini_ecapa.yaml", "--lid_args", TINY),
    *("--skip_packing", "false", "--skip_upload_hf", "false", "--hf_repo", "me/lid"),
)
DEV = tuple((code, stem(video, *SEGMENTS[0])) for code in ("en", "iw") for video in videos_of(code)[3:])


@dataclass(frozen=True)
class Run:
    """A finished run, and the servers that it asked."""

    recipe: Recipe
    files: Server
    hub: Hub
    done: CompletedProcess[str]

    @property
    def experiment(self) -> Path:
        return self.recipe.path / "exp/voxlingua107/lid_tiny"

    @property
    def test(self) -> Path:
        """The results on the test set."""
        return self.experiment / "inference/valid.accuracy.best/dev_voxlingua107"


def command(recipe: Recipe, hub: Hub) -> CompletedProcess[str]:
    """Run the whole recipe."""
    settings = hub_settings(recipe.path / "hf", hub.url)
    return recipe.run("run.sh", *OPTIONS, timeout=600, **settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """All ten stages, run once."""
    folder = tmp_path_factory.mktemp("whole")
    lay_zips(folder / "served")
    write_zip(folder / "served/dev.zip", {f"{code}/{name}.wav": wav(code, 1.5) for code, name in DEV})
    recipe = lay_recipe(folder / "récipe 語 dir")
    with contextlib.ExitStack() as servers:
        files = servers.enter_context(serving_files(folder / "served"))
        hub = servers.enter_context(serving_hub())
        recipe.set_db(VOXLINGUA107="corpus", VOXLINGUA107_URL=files.url)
        done = command(recipe, hub)
        assert done.returncode == 0, done.stderr
        yield Run(recipe, files, hub, done)


@pytest.mark.slow
def test_every_stage_did_its_part(run: Run):
    assert sorted(run.files.asked()) == ["dev.zip", "en.zip", "iw.zip", "no.zip", "zip_urls.txt"]
    selected = "the best epochs are selected on dump/voxlingua107/raw/selection_voxlingua107"
    assert selected in run.done.stderr
    assert f"dev_voxlingua107: {len(DEV)} utterances identified, 0 failed" in run.done.stderr
    results = json.loads((run.test / "results.json").read_text(encoding="utf-8"))
    assert results["utterances"] == len(DEV)
    repository = run.hub.repositories["me/lid"]
    assert repository.private
    assert "results/dev_voxlingua107/tsne_plots/tsne.png" in repository.files
    package = "exp/voxlingua107/lid_tiny/lid_tiny_valid.accuracy.best.zip"
    assert f"pack {package}: current, skipped" in run.done.stderr  # stage 10 finds the zip of stage 9
    assert run.done.stderr.endswith(f"  {package}\n")
    with zipfile.ZipFile(run.recipe.path / package) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == repository.files


@pytest.mark.slow
def test_the_repository_answers_like_the_experiment(run: Run, tmp_path: Path):
    code, name = DEV[-1]
    speech = run.recipe.path / "corpus/dev" / code / f"{name}.wav"
    reading = hub_settings(tmp_path / "hf", run.hub.url, "hf_reader")
    ours, theirs = answers(tmp_path, speech, run.experiment, "me/lid", **reading)
    assert ours == theirs
    languages, scores, _ = theirs
    assert languages == ["eng", "heb", "nor"]
    assert max(scores, key=scores.get) == dict(read_table(run.test / "dev_voxlingua107_lids"))[f"heb_{name}"]


@pytest.mark.slow
def test_the_same_command_again_does_nothing(run: Run):
    asked, sent = len(run.files.requests), list(run.hub.sent)
    again = command(run.recipe, run.hub)
    assert again.returncode == 0, again.stderr
    done = set(re.findall(r"^\S+ \S+ (.+) \(not done yet\)$", run.done.stderr, re.MULTILINE))
    skipped = set(re.findall(r"^\S+ \S+ (.+): current, ", again.stderr, re.MULTILINE))
    kinds = {name.partition(" ")[0] for name in done}
    assert kinds >= {"format", "collect", "train", "identify", "score", "t-SNE", "pack"}, done
    in_stage_1 = {name for name in done if name.endswith(" voxlingua107")}  # skipped as one
    assert done - in_stage_1 | {"prepare voxlingua107"} <= skipped
    assert not re.search(r"\((not done yet|.*changed.*)\)$", again.stderr, re.MULTILINE)
    assert len(run.files.requests) == asked
    assert run.hub.sent == sent
    assert len(run.hub.repositories["me/lid"].commits) == 1

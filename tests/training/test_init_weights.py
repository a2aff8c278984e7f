"""Weights to start from: by name, in part, and the classifier's rows by language."""

from __future__ import annotations

import pytest
import torch
from models.espnet import LANGUAGES, description, their_state, tiny_model, write_espnet_experiment
from training.test_checkpoint import DESCRIPTION

from lid_toolkit.errors import LidError
from lid_toolkit.models.build import build_model
from lid_toolkit.training.checkpoint import save_model
from lid_toolkit.training.init_weights import initialise, parse_source, rows_by_language

K = 3


def model(seed, languages):
    torch.manual_seed(seed)
    return build_model(DESCRIPTION, len(languages))


@pytest.fixture
def trained(tmp_path):
    """A model file of three languages, and its weights."""
    weights = model(1, "abc").state_dict()
    save_model(tmp_path / "old.pth", weights, DESCRIPTION, tuple("abc"), 16000)
    return tmp_path / "old.pth", weights


def test_the_same_languages_are_taken_whole(trained):
    path, weights = trained
    ours = model(2, "abc")
    initialise(ours, parse_source(str(path)), "abc", False)
    assert all(torch.equal(value, weights[name]) for name, value in ours.state_dict().items())


def test_shared_languages_keep_their_rows_whatever_their_place(trained, caplog):
    path, weights = trained
    ours = model(2, "cdae")
    fresh = ours.loss.weight.detach().clone()
    with caplog.at_level("INFO"):
        initialise(ours, parse_source(str(path)), "cdae", False)
    row = {name: slice(K * i, K * i + K) for i, name in enumerate("cdae")}
    old = {name: slice(K * i, K * i + K) for i, name in enumerate("abc")}
    for language in "ac":
        assert torch.equal(ours.loss.weight[row[language]], weights["loss.weight"][old[language]])
    for language in "de":
        assert torch.equal(ours.loss.weight[row[language]], fresh[row[language]])
    assert "2 languages kept: a c" in caplog.text
    assert "2 languages new: d e" in caplog.text
    assert "1 languages not used: b" in caplog.text


def test_hidden_layers_of_a_classifier_are_taken_whole(tmp_path):
    """Only its last layer has rows of languages, though 6 units are a multiple of 3 languages too."""
    description = {**DESCRIPTION, "loss": "dnn_softmax", "loss_conf": {"lin_neurons": 6}}
    old = build_model(description, 3)
    for parameter in old.loss.parameters():
        torch.nn.init.normal_(parameter)
    save_model(tmp_path / "old.pth", old.state_dict(), description, tuple("abc"), 16000)
    new = build_model(description, 4)
    fresh = new.loss.out.weight.detach().clone()
    initialise(new, parse_source(str(tmp_path / "old.pth")), "cadb", False)
    for name in ("norm.weight", "linears.0.weight", "linears.0.bias", "norms.0.weight", "norms.0.bias"):
        assert torch.equal(new.loss.get_parameter(name), old.loss.get_parameter(name))
    assert torch.equal(new.loss.out.weight[[0, 1, 3]], old.loss.out.weight[[2, 0, 1]])
    assert torch.equal(new.loss.out.bias[[0, 1, 3]], old.loss.out.bias[[2, 0, 1]])
    assert torch.equal(new.loss.out.weight[2], fresh[2])


def test_the_same_number_of_other_languages_is_no_copy(trained):
    path, weights = trained
    ours = model(2, "bca")
    initialise(ours, parse_source(str(path)), "bca", False)
    assert torch.equal(ours.loss.weight[:K], weights["loss.weight"][K : 2 * K])


def test_other_sub_centres_do_not_fit():
    assert rows_by_language(torch.zeros(4, 4), torch.zeros(9, 4), "ab", "abc") is None
    assert rows_by_language(torch.zeros(6, 4), torch.zeros(9, 5), "ab", "abc") is None
    assert rows_by_language(torch.zeros(6, 4), torch.zeros(4, 4), "ab", "abc") is None


@pytest.mark.parametrize(
    ("form", "taken"),
    [
        (":encoder:encoder", ("encoder",)),
        ("::", ("encoder", "pooling", "projector", "loss")),
        (":::loss,pooling", ("encoder", "projector")),
        (":encoder:encoder:encoder.layer4", ("encoder.conv", "encoder.layer1")),
    ],
)
def test_parts_are_taken(trained, form, taken):
    path, weights = trained
    ours = model(2, "abc")
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    initialise(ours, parse_source(f"{path}{form}"), "abc", False)
    for name, value in ours.state_dict().items():
        excluded = ":encoder.layer4" in form and name.startswith("encoder.layer4")
        wanted = weights if name.startswith(taken) and not excluded else before
        if "encoder.layer4" not in form or name.startswith((*taken, "encoder.layer4", "loss")):
            assert torch.equal(value, wanted[name]), name


def test_a_part_under_another_name(trained, tmp_path):
    _, weights = trained
    inner = {name.removeprefix("encoder."): v for name, v in weights.items() if name.startswith("encoder.")}
    torch.save({f"net.body.{name}": value for name, value in inner.items()}, tmp_path / "plain.pth")
    ours = model(2, "abc")
    initialise(ours, parse_source(f"{tmp_path / 'plain.pth'}:net.body:encoder"), "abc", False)
    assert torch.equal(ours.encoder.conv.weight, weights["encoder.conv.weight"])


def test_what_does_not_fit_is_named_or_left(trained):
    path, weights = trained
    torch.manual_seed(3)
    other = build_model({**DESCRIPTION, "projector_conf": {"output_size": 4}}, 3)
    kept = other.projector.fc.weight.detach().clone()
    with pytest.raises(
        LidError, match=r"old\.pth: 3 parameters differ in name or shape, e\.g\. projector\.fc\.weight"
    ):
        initialise(other, parse_source(str(path)), "abc", False)
    initialise(other, parse_source(str(path)), "abc", True)
    assert torch.equal(other.projector.fc.weight, kept)
    assert torch.equal(other.encoder.conv.weight, weights["encoder.conv.weight"])


@pytest.mark.parametrize("text", ["", ":a:b", "a:b:c:d:e"])
def test_faulty_forms(text):
    with pytest.raises(LidError, match="init_param: "):
        parse_source(text)


def test_a_file_without_weights(tmp_path):
    torch.save({"a": 1}, tmp_path / "a.pth")
    with pytest.raises(LidError, match="holds no weights by name"):
        initialise(model(1, "ab"), parse_source(str(tmp_path / "a.pth")), "ab", False)


def test_weights_of_espnet_are_taken_by_its_names_and_labels(tmp_path):
    path = write_espnet_experiment(tmp_path / "theirs") / "valid.accuracy.best.pth"
    ours, expected = build_model(description(), len(LANGUAGES)), tiny_model().state_dict()
    reversed_languages = LANGUAGES[::-1]
    initialise(ours, parse_source(str(path)), reversed_languages, False)
    taken = ours.state_dict()
    rows = expected.pop("loss.weight").split(K)  # sub-centres
    assert torch.equal(taken.pop("loss.weight"), torch.cat(rows[::-1]))
    assert all(torch.equal(taken[name], expected[name]) for name in expected)


def test_without_labels_of_espnet_rows_are_taken_in_their_order(tmp_path, caplog):
    experiment = write_espnet_experiment(tmp_path / "theirs")
    (experiment / "data/tiny/lang2utt").unlink()
    for kept in (True, False):  # with its config.yaml, and a file of weights alone
        ours = build_model(description(), len(LANGUAGES))
        initialise(ours, parse_source(str(experiment / "valid.accuracy.best.pth")), LANGUAGES[::-1], False)
        assert torch.equal(ours.loss.weight, tiny_model().loss.weight)
        assert ("lang2utt is missing or empty" in caplog.text) == kept
        assert caplog.text.count("the rows of the classifier are taken in their order") == kept
        caplog.clear()
        (experiment / "config.yaml").unlink(missing_ok=True)


def test_weights_of_espnet_that_do_not_fit_are_named(tmp_path):
    path = tmp_path / "more.pth"
    torch.save(their_state() | {"encoder.more.weight": torch.zeros(1)}, path)
    ours = build_model(description(), len(LANGUAGES))
    with pytest.raises(LidError, match=r"1 parameters differ in name or shape, e\.g\. encoder\.more\.weight"):
        initialise(ours, parse_source(str(path)), LANGUAGES, False)

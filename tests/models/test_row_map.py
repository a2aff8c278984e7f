"""Linear maps by oneDNN: the same values, only where no gradient is recorded, and rows of any layout."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lid_toolkit.models import row_map
from lid_toolkit.models.exporting import exporting
from lid_toolkit.models.row_map import by_onednn, map_channels, map_rows

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", ["rows", "columns of a wider matrix", "transposed"])
def test_values_are_those_of_a_linear_map(layout: str, bias: bool):
    """Strided rows must be copied first: oneDNN takes a hundred times as long for them."""
    torch.manual_seed(0)
    made = {"rows": lambda: torch.randn(37, 24), "transposed": lambda: torch.randn(24, 37).t()}
    x = made.get(layout, lambda: torch.randn(37, 96)[:, 24:48])()
    weight, offset = torch.randn(16, 24, 1)[:, :, 0], torch.randn(16) if bias else None
    with torch.inference_mode():
        assert by_onednn(x)
        mapped = map_rows(x, weight, offset)
    expected = F.linear(x.double(), weight.double(), None if offset is None else offset.double())
    assert mapped.dtype is torch.float32
    assert torch.allclose(mapped.double(), expected, atol=1e-5)  # sums of 24 products in float32


def test_a_gradient_is_recorded_in_training():
    x, weight = torch.randn(3, 4), torch.randn(5, 4, requires_grad=True)
    map_rows(x, weight).sum().backward()
    assert weight.grad is not None
    assert torch.allclose(weight.grad, x.sum(dim=0).expand(5, 4))


@torch.no_grad()
def test_other_formats_exports_and_versions_keep_to_pytorch(monkeypatch: pytest.MonkeyPatch):
    x = torch.randn(3, 4)
    assert by_onednn(x)
    assert not by_onednn(x.double())
    assert not by_onednn(x[:0])
    with torch.autocast("cpu", torch.bfloat16):
        assert not by_onednn(x)
    with exporting():
        assert not by_onednn(x)
    monkeypatch.setattr(row_map.torch.ops, "mkldnn", object())
    assert not by_onednn(x)
    assert map_rows(x, torch.eye(4)).equal(x)


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_of_single_frames_is_a_map_of_rows(kernel: int):
    conv, x = torch.nn.Conv1d(6, 5, kernel, padding=kernel // 2), torch.randn(2, 6, 9)
    with torch.inference_mode():
        found = map_channels(conv, x)
    assert found.shape == (2, 5, 9)
    assert torch.allclose(found, conv(x), atol=1e-5)


def test_onednn_gets_few_different_numbers_of_rows(monkeypatch: pytest.MonkeyPatch):
    """It keeps memory for each: 10,000 recordings of different lengths took 2.6 GB."""
    seen = set()

    class Library:
        def _linear_pointwise(self, rows, weight, *_):
            seen.add(len(rows))
            return rows @ weight.t()

    monkeypatch.setattr(row_map.torch.ops, "mkldnn", Library())
    with torch.inference_mode():
        for count in (1, 100, 128, 129, 250):
            assert len(map_rows(torch.ones(count, 3), torch.ones(2, 3))) == count
        for shape in ((1, 7), (2, 101), (5, 50)):  # the frames of a batch
            assert map_rows(torch.ones(*shape, 3), torch.ones(2, 3)).equal(torch.full((*shape, 2), 3.0))
    assert seen == {128, 256}

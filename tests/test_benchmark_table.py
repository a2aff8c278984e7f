"""The table of ``benchmarks/README.md`` has the rows of ``table.py``, and keys lead to figures."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("table")


def test_the_page_has_a_line_for_each_row(table: ModuleType) -> None:
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    block = text.partition(table.BEGIN)[2].partition(table.END)[0]
    lines = [line.split(" | ")[:3] for line in block.splitlines() if line.startswith("| ")][1:]
    assert [line[1] for line in lines] == [row.work for row in table.ROWS]


def test_each_row_has_a_source_whose_script_exists(table: ModuleType) -> None:
    for row in table.ROWS:
        assert (BENCHMARKS / table.SOURCES[row.source].command.split()[0]).is_file()


def test_cells(table: ModuleType, tmp_path: Path) -> None:
    """Without the peer's figures it is not installed; without ours, the benchmark was not run."""
    figures = {"batches of 1": {"cpu_seconds": 123.4}, "import torch": {"cpu_seconds": 3.1789}}
    (tmp_path / "identification.json").write_text(json.dumps(figures))
    lines = table.render(tmp_path).splitlines()
    whole = next(line for line in lines if "whole process, batch 1; ESPnet" in line)
    assert whole.split(" | ")[3:] == ["123", "not installed", "3.18", "peer / 3.5 |"]
    assert next(line for line in lines if "2.5 million" in line).split(" | ")[3] == "not measured"
    assert table.cell({"rows": [{"s": 0.5}]}, "rows/0/s") == "0.5"

"""The rooms of lid_toolkit: an import only points up, and no room is too large."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GROUND_FLOOR = ("errors", "files", "processes", "progress", "steps", "cli")
ROOMS = (
    "languages",
    "datadir",
    "audio",
    "augment",
    "evaluation",
    "data",
    "models",
    "training",
    "prepare",
    "package",
    "inference",
    "hub",
)
TORCH_FREE = ("languages", "datadir", "audio", "augment", "evaluation", "jobs")
MODULES = sorted((ROOT / "lid_toolkit").rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Return the modules that a file imports anywhere; ``from a import b`` means ``a.b`` if that is one."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = members & {name_of(module) for module in MODULES}
            names |= modules if modules == members else modules | {node.module}
    return names


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_up(path: Path):
    room = room_of(name_of(path))
    for module in imports_of(path):
        if not module.startswith("lid_toolkit.") or room_of(module) == room or not room:
            continue
        other = room_of(module)
        if other in GROUND_FLOOR:
            continue
        assert room in ROOMS, f"{name_of(path)} stands alone, but imports {module}"
        assert ROOMS.index(other) < ROOMS.index(room), f"{name_of(path)} imports {module}, which is below it"


@pytest.mark.parametrize(
    "path", [path for path in MODULES if room_of(name_of(path)) in TORCH_FREE], ids=name_of
)
def test_some_rooms_do_without_torch(path: Path):
    heavy = {"torch", "torchaudio", "transformers", "peft"}
    assert not heavy & {module.split(".")[0] for module in imports_of(path)}


def test_no_import_is_circular():
    graph = {name_of(path): {m for m in imports_of(path) if m.startswith("lid_toolkit")} for path in MODULES}
    assert graph.keys() <= set(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_are_short(path: Path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{path}:{node.lineno}: {node.name} has {length} lines"

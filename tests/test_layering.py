"""The rooms of lid_toolkit: an import only points up, and no room is too large."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/architecture.md"


def rows_of(heading: str) -> dict[str, list[str]]:
    """Return the table under a heading of docs/architecture.md: name and further columns of each row."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()]
    return {row[0].strip("`"): row[1:] for row in rows if row[0].startswith("`") and len(row) > 1}


GROUND_FLOOR = tuple(rows_of("Shared modules"))
ROOMS = tuple(rows_of("Packages"))
TORCH_FREE = ("jobs", *(room for room, row in rows_of("Packages").items() if row[-1] == "yes"))
MODULES = sorted((ROOT / "lid_toolkit").rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = frozenset(map(name_of, MODULES))


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """Return the modules that a file imports anywhere; ``from a import b`` means ``a.b`` if that is one."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = members & NAMES
            names |= modules if modules == members else modules | {node.module}
    return frozenset(names)


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_page_names_every_package_and_shared_module():
    packages = {path.parent.name for path in ROOT.glob("lid_toolkit/*/__init__.py")}
    assert packages == {*ROOMS, "jobs"}, f"list the packages in {PAGE}"
    modules = {path.stem for path in ROOT.glob("lid_toolkit/*.py")} - {"__init__"}
    assert modules == set(GROUND_FLOOR), f"list the shared modules in {PAGE}"


def test_diagram_names_every_package_and_shared_module():
    diagram = (ROOT / "docs/images/architecture.svg").read_text(encoding="utf-8")
    assert set(re.findall(r'class="name"[^>]*>(\w+)<', diagram)) == {*ROOMS, "jobs"}
    shared = re.search(r">(errors .*)</text>", diagram)
    assert shared is not None
    assert tuple(re.findall(r"\w+", shared[1])) == GROUND_FLOOR, "change the last line of text in the diagram"


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


def test_library_does_not_know_the_recipe():
    """No file of the library mentions a stage's number or an option of ``run.sh`` or ``lid.sh``.

    The commands and the command line of ``jobs`` have options of their own with some of these names.
    """
    scripts = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("run.sh", "lid.sh"))
    options = re.findall(r"^(\w+)=.*# \S+: ", scripts, re.MULTILINE)
    stages, recipe = "[Ss]tages? [0-9]", rf"--(?:{'|'.join(options)})\b"
    own_options = (*ROOT.glob("lid_toolkit/commands/**/*.py"), ROOT / "lid_toolkit/jobs/__main__.py")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in MODULES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(stages if path in own_options else f"{stages}|{recipe}", line)
    ]
    assert not found, "\n".join(found)


def test_what_says_whether_work_is_to_do_imports_no_torch():
    """The stages ask before they work; torch takes longer to import than the answer takes."""
    modules = ("training.sources", "training.feature_stats", "inference.identification", "inference.merge")
    imports = "; ".join(f"import lid_toolkit.{module}" for module in modules)
    large = ("torch", "transformers", "matplotlib", "sklearn")
    script = f"import sys; {imports}; print([name for name in {large} if name in sys.modules])"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"

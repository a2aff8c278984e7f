"""Components from outside this toolkit: ``package.module:Class`` of an installed Python package.

Importing a module runs its code. The user wrote the training YAML, so the classes that it names are imported.
A model file or a packed model may come from anyone: its classes are imported only from packages that the
caller allows, by an argument or by the environment variable ``LID_EXTERNAL`` (``my_package,other_package``).
Code in an archive is never run: modules are found on Python's search path, which is not changed, and a module
inside an archive or in the folder of a packed model is refused.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from lid_toolkit.errors import LidError, nearest

if TYPE_CHECKING:
    from torch import nn

    from lid_toolkit.models.protocols import Kind

ENVIRONMENT = "LID_EXTERNAL"
NAME = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)")
PACKED = ("meta.yaml", "model.yaml")
"""Files that identify the folder of a packed model."""

Packages = Container[str]
"""Names of the packages that components may be imported from."""
NONE: Packages = ()
"""Only the packages in ``LID_EXTERNAL``: for descriptions that the user did not write."""


class _Every:
    def __contains__(self, _package: object) -> bool:
        return True


EVERY: Packages = _Every()
"""Any package: for a configuration that the user wrote."""


def is_external(name: str) -> bool:
    """Return whether a component's name has the form of an external class."""
    return ":" in name


def find_external(kind: Kind, name: str, allowed: Packages) -> type[nn.Module]:
    """Import a class by name.

    Args:
        kind: key of the component, for messages.
        name: ``package.module:Class``.
        allowed: top-level packages that may be imported, in addition to those in ``LID_EXTERNAL``.

    Raises:
        LidError: the package is not allowed or not installed, the module cannot be imported or is inside a
            packed model, or the class does not exist or is not an ``nn.Module``.
    """
    from torch import nn

    match = NAME.fullmatch(name)
    if match is None:
        raise LidError(f"'{name}' is not a class", where=kind, mend="write package.module:Class")
    module, attribute = match.groups()
    package = module.partition(".")[0]
    if package not in allowed and package not in _allowed_by_environment():
        raise LidError(
            f"'{name}' is not part of this toolkit, and {package} is not allowed",
            where=kind,
            mend=f"if you trust that package, pass external=['{package}'] or set {ENVIRONMENT}={package}",
        )
    found = getattr(_import(kind, module), attribute, None)
    if inspect.isclass(found) and issubclass(found, nn.Module):
        return found
    if found is not None:
        raise LidError(f"'{name}' is not a class derived from torch.nn.Module", where=kind)
    classes = [
        name
        for name, value in vars(sys.modules[module]).items()
        if inspect.isclass(value) and issubclass(value, nn.Module)
    ]
    raise LidError(
        f"module {module} has no {attribute}", where=kind, mend=nearest(attribute, classes, "check the name")
    )


def _allowed_by_environment() -> list[str]:
    return [package.strip() for package in os.environ.get(ENVIRONMENT, "").split(",")]


def _import(kind: Kind, module: str) -> ModuleType:
    """Import a module and the packages it is in, outermost first; check where each is before importing it."""
    words = module.split(".")
    for count in range(1, len(words) + 1):
        name = ".".join(words[:count])
        if name in sys.modules:  # imported by the user's own program
            continue
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            raise LidError(
                f"Python module {name} is not installed",
                where=kind,
                mend=f"install the package that contains it, or add its folder to PYTHONPATH ({module})",
            )
        for place in _places(spec.origin, spec.submodule_search_locations):
            _check_place(kind, name, place)
        try:
            importlib.import_module(name)
        except Exception as error:  # the code of others raises anything
            raise LidError(f"importing {name} failed: {type(error).__name__}: {error}", where=kind) from error
    return sys.modules[module]


def _places(origin: str | None, folders: Iterable[str] | None) -> Iterator[Path]:
    """Yield the file of a module and the folders of a package."""
    if origin not in (None, "built-in", "frozen", "namespace"):
        yield Path(str(origin))
    for folder in folders or ():
        yield Path(folder)


def _check_place(kind: Kind, module: str, place: Path) -> None:
    """Refuse a module whose code came with a packed model.

    Python also looks for modules in the current directory, so code of a model unpacked there could otherwise
    be imported.
    """
    folders = {folder for path in (place.absolute(), place.resolve()) for folder in (path, *path.parents)}
    inside = any(all((folder / name).exists() for name in PACKED) for folder in folders)
    if inside or not place.exists():  # a module in a zip has no path in the file system
        raise LidError(
            f"Python module {module} at {place} lies in a packed model or an archive",
            where=kind,
            mend="install the package; code that comes with a model is not run",
        )

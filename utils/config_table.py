#!/usr/bin/env python3
"""Print the keys of training YAMLs as Markdown tables, from the configuration's own field docstrings."""

from __future__ import annotations

from pydantic import BaseModel

from lid_toolkit.data.preprocess import PreprocessorConf
from lid_toolkit.training.adversary_conf import AdversaryConf
from lid_toolkit.training.config import TrainConfig
from lid_toolkit.training.distill_conf import DistillConf
from lid_toolkit.training.schedules import SCHEDULES

TABLES: dict[str, type[BaseModel]] = {
    "Keys": TrainConfig,
    "`preprocessor_conf`": PreprocessorConf,
    "`distill_conf`": DistillConf,
    "`adversary_conf`": AdversaryConf,
    **{f"`scheduler_conf` of `{name}`": conf for name, (conf, _) in SCHEDULES.items()},
}


def table(title: str, model: type[BaseModel]) -> str:
    """Return a section with one row for each field."""
    rows = [f"### {title}", "", "| key | default | meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else shown(field.default)
        meaning = " ".join((field.description or "").split()).replace("``", "`")
        rows.append(f"| `{name}` | {default} | {meaning} |")
    return "\n".join(rows) + "\n"


def shown(value: object) -> str:
    """Return a default as YAML shows it; the defaults of a nested model have a table of their own."""
    if isinstance(value, BaseModel):
        return "see below"
    if value is None or isinstance(value, bool):
        return {None: "`null`", True: "`true`", False: "`false`"}[value]
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{value}`"


if __name__ == "__main__":
    print("\n".join(table(title, model) for title, model in TABLES.items()), end="")

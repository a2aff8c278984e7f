"""HTML pages from the templates beside this module; what is filled in is escaped."""

from __future__ import annotations

import functools
import json

import jinja2
from markupsafe import Markup

from lid_toolkit.evaluation.style import DARK, FONT, LIGHT, page_colours


def render(template: str, **values: object) -> str:
    """Fill in a template, e.g. ``report.html.j2``. Text is escaped; ``Markup`` is inserted as it is."""
    return _environment().get_template(template).render(values)


def json_for_script(content: object) -> Markup:
    """Return a value as JSON that is safe within ``<script>``: no text in it can end the element."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lid_toolkit.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["style"] = {
        "font": Markup(FONT),
        "light": page_colours(LIGHT),
        "dark": page_colours(DARK),
    }
    return environment

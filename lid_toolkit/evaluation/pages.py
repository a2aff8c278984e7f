"""HTML pages from the templates beside this module; what is filled in is escaped."""

from __future__ import annotations

import functools

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs


def render(template: str, **values: object) -> str:
    """Fill in a template, e.g. ``report.html.j2``. Text is escaped; ``Markup`` is inserted as it is."""
    return _environment().get_template(template).render(values)


def plotly_library() -> Markup:
    """Return plotly's JavaScript, so that a page opens without a network."""
    return Markup(get_plotlyjs())


def figure_json(figure: go.Figure) -> Markup:
    """Return a figure as JSON that is safe within ``<script>``: no text in it can end the element."""
    return Markup(figure.to_json().replace("<", "\\u003c").replace(">", "\\u003e"))


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("lid_toolkit.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

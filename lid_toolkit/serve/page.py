"""The page: one HTML document that loads nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import jinja2
from markupsafe import Markup

from lid_toolkit.evaluation.style import FONT, PALETTE
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.prediction import english_name
from lid_toolkit.serve.limits import Limits

SHOWN = 5
"""Languages with their scores."""


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        html: the document.
        headers: of the answer that has it. They let the browser run no script and use no style other than
            the page's own, and connect to nothing but the server.
    """

    html: str
    headers: Mapping[str, str]


def make_page(lid: LanguageIdentifier, name: str, limits: Limits) -> Page:
    """Return the page of a model.

    Args:
        lid: the model.
        name: what the page calls it.
        limits: the limits of the server, which the page checks before it uploads.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lid_toolkit.serve"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    settings = {
        "rate": lid.rate,
        "shown": SHOWN,
        "max_bytes": limits.max_bytes,
        "max_seconds": limits.max_seconds,
        "colours": PALETTE,
    }
    languages = [(label, english_name(label)) for label in lid.languages]
    script = environment.get_template("page.js").render(settings=settings)
    style = environment.get_template("page.css").render(font=Markup(FONT))
    html = environment.get_template("page.html.j2").render(
        name=name,
        languages=sorted(languages, key=lambda pair: pair[1] or pair[0]),
        limits=limits,
        longest=_in_words(limits.max_seconds),
        script=Markup(script),
        style=Markup(style),
    )
    return Page(html, _headers(script, style))


def _in_words(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:g} minutes" if minutes > 1 and minutes.is_integer() else f"{seconds:g} seconds"


def _headers(script: str, style: str) -> dict[str, str]:
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "connect-src": "'self'",
        "img-src": "data:",
        "media-src": "blob:",
        **dict.fromkeys(("base-uri", "form-action", "frame-ancestors"), "'none'"),
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Referrer-Policy": "no-referrer",
    }


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

"""What MkDocs adds to the pages in ``docs/``: pages from the root, notebooks, and the API reference.

Links in the sources are those that work where the repository is browsed: ``docs/models.md`` in README.md,
``../RESULTS.md`` in docs/frontends.md. In the site all pages lie in one folder, so both lose their folder.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
FROM_ROOT = {
    "index.md": "README.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "RESULTS.md": "RESULTS.md",
    "CHANGELOG.md": "CHANGELOG.md",
}


def on_config(config: MkDocsConfig) -> None:
    """Fill in the navigation of the API reference."""
    for section in config.nav or ():
        if "API reference" in section:
            section["API reference"] = [{name: f"api/{name}.md"} for name in api_pages()]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that are not files in ``docs/``."""
    pages = {page: (ROOT / source).read_text(encoding="utf-8") for page, source in FROM_ROOT.items()}
    pages |= {f"api/{name}.md": text for name, text in api_pages().items()}
    for notebook in sorted((ROOT / "docs").rglob("*.ipynb")):
        pages[notebook.relative_to(ROOT / "docs").with_suffix(".md").as_posix()] = notebook_page(notebook)
    for table in sorted((ROOT / "results").glob("*.tsv")):
        pages[f"results/{table.name}"] = table.read_text(encoding="utf-8")
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn links of the repository into links of the site, and fill in the lists that come from the code."""
    for marker, make in {"<!-- corpora -->": corpora, "<!-- components -->": components}.items():
        if marker in markdown:
            markdown = markdown.replace(marker, make())
    markdown = re.sub(r"\]\((?:docs/|\.\./(?=[A-Z]+\.md))", "](", markdown)
    return re.sub(r"\]\((?:\.\./)?README\.md", "](index.md", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Show the Sphinx roles of docstrings, such as :class:`.Table`, as plain code."""
    return re.sub(r":(?:class|func|meth|mod|data):<code>[.~]?", "<code>", html)


def corpora() -> str:
    """Return a list of the corpora in ``local/`` with their summaries."""
    found = []
    for path in sorted((ROOT / "local").glob("*/corpus.sh")):
        summary = re.search(r'^summary="(.*)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
        found.append(f"- `{path.parent.name}`: {summary[1] if summary else 'no summary'}")
    return "\n".join(found)


def components() -> str:
    """Return the list of all components of models, as ``utils/models_table.py`` prints it."""
    command = [sys.executable, str(ROOT / "utils/models_table.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def api_pages() -> dict[str, str]:
    """Return a page for the package itself and one for each of its packages: name to Markdown."""
    package = ROOT / "lid_toolkit"
    pages = {"lid_toolkit": _page("lid_toolkit", sorted(package.glob("*.py")))}
    for room in sorted(path.parent for path in package.glob("*/__init__.py")):
        pages[room.name] = _page(f"lid_toolkit.{room.name}", sorted(room.rglob("*.py")))
    return pages


def _page(title: str, modules: list[Path]) -> str:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules]
    names = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
    return f"# {title}\n\n" + "\n".join(f"::: {name}\n" for name in sorted(names))


def notebook_page(path: Path) -> str:
    """Return a notebook as Markdown: its texts, its code and the text that the code printed."""
    blocks = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        blocks.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            text = "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))
            blocks += [f"```text\n{text.rstrip()}\n```"] if text else []
    return "\n\n".join(blocks) + "\n"

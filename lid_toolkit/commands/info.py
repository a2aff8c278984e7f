"""``lid info MODEL``: what a model is, and how good it is."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lid_toolkit import languages
from lid_toolkit.cli import OptionParser
from lid_toolkit.commands.model import MODEL_HELP, default_model

"""Find the environment of a script that is run without ``path.sh``: import this before ``lid_toolkit``.

``. ./path.sh`` chooses a Python with all requirements. Without it, the complete ``.venv`` of this recipe is
used if there is one. Otherwise this ends with one line that says what to do.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = ("numpy", "soundfile", "torch", "yaml")


def check() -> None:
    """Make ``lid_toolkit`` importable, if necessary with another Python; exit with 2 if that fails."""
    if find_spec("lid_toolkit") is None:
        sys.path.insert(1, str(ROOT))
    missing = [name for name in REQUIRED if find_spec(name) is None]
    own = ROOT / ".venv"
    if missing and (own / ".ready").is_file() and Path(sys.prefix) != own:
        os.execv(own / "bin/python", [str(own / "bin/python"), *sys.argv])
    if missing:
        script = os.path.relpath(sys.argv[0])
        sys.stderr.write(f"error: {script}: {sys.executable} lacks {missing[0]} (first run: . ./path.sh)\n")
        sys.exit(2)


check()

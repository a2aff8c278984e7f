"""``python -m lid_toolkit.commands`` is ``lid``."""

from lid_toolkit.commands.main import main

main()

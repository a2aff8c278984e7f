"""What holds for every test."""

from __future__ import annotations

import signal

# A suite that is started in the background inherits an ignored Ctrl-C, and so would all it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

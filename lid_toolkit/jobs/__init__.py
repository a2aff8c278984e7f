"""Run a command N times: as bounded parallel jobs on this machine."""

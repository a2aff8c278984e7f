"""Run a command N times: on this machine, on other machines over ssh, or on a cluster."""

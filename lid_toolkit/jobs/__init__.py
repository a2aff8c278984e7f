"""Run a command N times: as jobs of this machine, of others over ssh, or of a cluster."""

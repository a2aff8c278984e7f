"""Run a command N times at once, in Kaldi's calling convention."""

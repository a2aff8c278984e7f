"""Encoders: features to frame-level representations, exact under padding."""

"""Evaluate a system's answers: metrics with intervals, pictures, reports and embedding maps."""

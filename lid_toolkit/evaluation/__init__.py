"""Metrics, plots, t-SNE and the HTML report (no torch)."""

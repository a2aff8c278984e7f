"""Trained models of other toolkits, read without running anything in them."""

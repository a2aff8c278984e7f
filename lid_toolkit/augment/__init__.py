"""Augmentation of waveforms for training: noise, rooms, voices, telephone, equaliser (no torch)."""

"""Front ends: waveforms to features, inside the model."""

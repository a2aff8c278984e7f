"""Files to float32 waveforms and back: formats, ranges, resampling, speed, noise and reverberation (no torch)."""

"""Files to float32 waveforms and back: formats, ranges, resampling, speed, distortions (no torch)."""

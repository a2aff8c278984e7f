"""From data directories to batches: reading, sampling, augmentation and loading."""

"""A data directory to batches: dataset, samplers, collate, loader."""

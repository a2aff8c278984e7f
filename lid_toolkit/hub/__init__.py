"""Pack, model card, upload, and importers of other toolkits' models."""

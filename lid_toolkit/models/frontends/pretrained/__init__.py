"""Front ends of pretrained speech encoders from ``transformers``."""

"""The packed model: one zip that runs anywhere, written and read here."""

"""The packed model, one zip that works on any machine: its format, writing and reading."""

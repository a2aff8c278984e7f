"""The command ``lid``: one module for each subcommand."""

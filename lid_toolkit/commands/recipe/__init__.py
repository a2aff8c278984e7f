"""The commands of the recipe: what the scripts of its stages and of its data directories run."""

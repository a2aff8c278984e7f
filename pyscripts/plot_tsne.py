#!/usr/bin/env python3
"""Stage 8: draw a t-SNE plot of the embeddings of a set."""

from stages import run

from lid_toolkit.commands.recipe.plot_tsne import main

if __name__ == "__main__":
    run(main)

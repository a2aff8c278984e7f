#!/usr/bin/env python3
"""Stage 4: collect the mean and variance of the features, if training needs them. Run plan, jobs, merge."""

from stages import run

from lid_toolkit.commands.recipe.collect_feature_stats import main

if __name__ == "__main__":
    run(main)

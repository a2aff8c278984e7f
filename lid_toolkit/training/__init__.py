"""Configuration, optimisation, schedules, checkpoints and the loop."""

"""Frontends, normalisers, encoders, poolings, projectors, losses, and the LidModel they make."""

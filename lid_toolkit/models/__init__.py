"""The LidModel and its components: front ends, normalisers, encoders, poolings, projectors and losses."""

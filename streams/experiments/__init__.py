"""Experiments: which users are in which arm, what they get, and how the arms compare."""

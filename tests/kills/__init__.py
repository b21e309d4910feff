"""Trainings that are killed and resumed: ``python -m tests.kills``."""

"""Tapping a network: hooks by module path, shapes, features, proposals."""

"""Distil a small network on scikit-learn's digits, and train its baseline for comparison: the same as ``mmmuse demo``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('demo')

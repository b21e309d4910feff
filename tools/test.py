"""Evaluate a checkpoint: the same as ``mmmuse test``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('test')

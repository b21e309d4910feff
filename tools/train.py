"""Train a model: the same as ``mmmuse train``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('train')

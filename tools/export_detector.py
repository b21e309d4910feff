"""Export a detector as a plain network: the same as ``mmmuse export``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('export')

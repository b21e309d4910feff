"""List the cost of every exit, without a checkpoint: the same as ``mmmuse complexity``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('complexity')

"""List the accuracy and cost of every exit, and choose the smallest one that is good enough: the same as ``mmmuse exits``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('exits')

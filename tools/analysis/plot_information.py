"""Draw the MI and SI losses of runs: the same as ``mmmuse information``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('information')

"""Store a teacher's outputs for fixed views of the training set: the same as ``mmmuse cache-teacher``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('cache-teacher')

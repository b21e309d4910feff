"""Measure how well anchors fit a data set, and propose better ones: the same as ``mmmuse anchors``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('anchors')

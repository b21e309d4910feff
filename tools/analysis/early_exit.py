"""Choose thresholds for early exit, and measure accuracy and cost: the same as ``mmmuse early-exit``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('early-exit')

"""Draw the detections of a detector and its exits: the same as ``mmmuse detections``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('detections')

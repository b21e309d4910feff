"""Convert a checkpoint of RepDistiller to OpenMMLab's names: the same as ``mmmuse convert-teacher``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('convert-teacher')

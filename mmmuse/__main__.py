"""``python -m mmmuse`` is the command ``mmmuse``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main()

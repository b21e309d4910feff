"""Write a distilled config for a plain one: the same as ``mmmuse wrap``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('wrap')

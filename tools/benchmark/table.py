"""Train the runs of a table, continue those that were stopped, and write the table: the same as ``mmmuse table``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('table')

"""Write a report of a run, one HTML file: the same as ``mmmuse report``."""

from mmmuse.commands import main

if __name__ == '__main__':
    main('report')

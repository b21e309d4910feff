"""Commands run in Python's UTF-8 mode, whatever the locale is."""

import codecs
import locale
import os
import sys


def run_in_utf8() -> None:
    """Start the program again in UTF-8 mode if the encoding of the locale is another one.

    Our own files are opened as UTF-8. MMEngine's log, its pointer to the last checkpoint and COCO's
    annotations are opened in the encoding of the locale, where class names or paths may not exist.
    """
    if sys.flags.utf8_mode or os.name != 'posix':
        return
    if codecs.lookup(locale.getpreferredencoding(False)).name == 'utf-8':
        return
    sys.stdout.flush()
    sys.stderr.flush()
    # The interpreter's own flags, the program and its arguments.
    os.execv(sys.executable, [sys.executable, '-X', 'utf8', *sys.orig_argv[1:]])

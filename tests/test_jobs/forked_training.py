"""``mmmuse train`` in forks of this process, for jobs that another program starts.

``python forked_training.py SOCKET ARGUMENTS`` asks the server on the socket for a fork that does
``mmmuse ARGUMENTS``. It has the program's variables, folder, stdout and stderr, gets its signals, and ends
with it.
"""

import json
import os
import signal
import socket
import sys

_LENGTH = 8


def ask(path: str, arguments: list[str]) -> int:
    """Ask the server for a fork, wait for its end, and return its exit code, negative after a signal."""
    request = dict(arguments=arguments, folder=os.getcwd(), environment=dict(os.environ))
    content = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [len(content).to_bytes(_LENGTH, 'big')], [1, 2])
        connection.sendall(content)
        answers = connection.makefile()
        process = int(answers.readline())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, frame: os.kill(process, number))
        return int(answers.readline())


def end_with(code: int) -> None:
    """End with an exit code, or by the signal of its negative."""
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == '__main__':
    end_with(ask(sys.argv[1], sys.argv[2:]))

"""A process that forks for ``forked_training.py``."""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from tempfile import TemporaryDirectory

from ..forks import Fork, mmmuse
from . import forked_training

_SECONDS_TO_LOOK = 1.0


@contextmanager
def forked_training_command() -> Iterator[list[str]]:
    """Start the server, and yield the command in place of ``mmmuse train``."""
    with TemporaryDirectory(
        prefix='forks'
    ) as folder:  # The path of a socket has at most 107 bytes.
        path = f'{folder}/socket'
        with socket.socket(socket.AF_UNIX) as listener, open(os.devnull, 'w') as nowhere:
            listener.bind(path)
            listener.listen()
            server = Fork(lambda: _serve(listener), nowhere.fileno(), nowhere.fileno())
            server.start()
        try:
            yield [sys.executable, '-S', '-E', forked_training.__file__, path, 'train']
        finally:
            server.kill()
            server.join()


def _serve(listener: socket.socket) -> None:
    """Fork for each connection, and write how the fork ends, until the test's process is gone."""
    parent = os.getppid()
    running: dict[socket.socket, Fork] = {}
    while os.getppid() == parent:
        sentinels = {fork.sentinel: connection for connection, fork in running.items()}
        for ready in wait([listener, *running, *sentinels], _SECONDS_TO_LOOK):
            if ready is listener:
                connection, _ = listener.accept()
                running[connection] = _fork(connection)
            elif ready in running:  # The program was killed.
                os.kill(running[ready].pid, signal.SIGKILL)
                running.pop(ready).join()
                ready.close()
            elif (connection := sentinels[ready]) in running:
                fork = running.pop(connection)
                fork.join()
                with connection, suppress(BrokenPipeError):
                    connection.sendall(f'{fork.exitcode}\n'.encode())
    for fork in running.values():
        fork.kill()


def _fork(connection: socket.socket) -> Fork:
    length, descriptors, _, _ = socket.recv_fds(connection, forked_training._LENGTH, 2)
    content = connection.recv(int.from_bytes(length, 'big'), socket.MSG_WAITALL)
    request = json.loads(content)
    command = mmmuse(*request['arguments'])
    fork = Fork(command, *descriptors, request['folder'], request['environment'])
    fork.start()
    connection.sendall(f'{fork.pid}\n'.encode())
    for descriptor in descriptors:
        os.close(descriptor)
    return fork

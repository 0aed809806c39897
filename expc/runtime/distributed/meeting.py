"""Where the launchers of several machines meet: torch's own rendezvous, over connections that notice a cut cable.

torch waits for an answer of the machine where they meet as long as the system does, which is a quarter of an hour
where a machine has lost its network, or for ever.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from torch.distributed.elastic.rendezvous import RendezvousHandler, RendezvousParameters, rendezvous_handler_registry
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import create_backend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import create_handler

NAME: Final = "expc"
"""What the rendezvous is called, for torch's launcher."""
SILENCE: Final = 30
"""Seconds after which a machine that does not answer is gone."""
_OPTIONS: Final[dict[str, int]] = {
    "TCP_USER_TIMEOUT": SILENCE * 1000,
    "TCP_KEEPIDLE": SILENCE // 2,
    "TCP_KEEPINTVL": SILENCE // 6,
    "TCP_KEEPCNT": 3,
}
"""Settings of a connection; what a system does not have is left out."""


def register() -> None:
    """Let torch's launcher know this rendezvous."""
    with suppress(ValueError):  # it does
        rendezvous_handler_registry.register(NAME, _create)


def _create(parameters: RendezvousParameters) -> RendezvousHandler:
    backend, store = create_backend(parameters)
    parameters.backend = backend.name
    _watch_connections(int(parameters.endpoint.rpartition(":")[2]))
    return create_handler(store, backend, parameters)


def _watch_connections(port: int) -> None:
    """Let the system ask the other ends of connections to `port` whether they are there."""
    for opened in list(Path("/dev/fd").glob("*")):
        with suppress(OSError), socket.socket(fileno=os.dup(int(opened.name))) as connection:
            _watch(connection, port)


def _watch(connection: socket.socket, port: int) -> None:
    peer: Any = connection.getpeername()
    if connection.type != socket.SOCK_STREAM or not isinstance(peer, tuple) or peer[1] != port:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _OPTIONS.items():
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

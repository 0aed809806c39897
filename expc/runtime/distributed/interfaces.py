"""Which address and which network interface of this machine reach another one."""

import os
import socket
import struct
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Final

_SIOCGIFADDR: Final = 0x8915
"""What Linux calls the question for the address of an interface."""
_ELSEWHERE: Final = "192.0.2.1", 9
"""An address that nobody has (RFC 5737): what leads to it leads out."""
_INTERFACE: Final = "GLOO_SOCKET_IFNAME"
"""The environment variable that tells gloo its interface. Else it takes the one that the machine's own name means: on
many machines that of 127.0.0.1, where no other machine reaches it."""


def is_here(host: str) -> bool:
    """Whether `host` means this machine: whether a server may listen at its address."""
    for family, kind, _, _, (address, *_) in _found(host, 0):
        with suppress(OSError), socket.socket(family, kind) as tried:
            tried.bind((address, 0))
            return True
    return False


def is_free(host: str, port: int) -> bool:
    """Whether nobody on this machine listens at `port` yet."""
    for family, kind, _, _, (address, *_) in _found(host, port):
        with suppress(OSError), socket.socket(family, kind) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((address, port))
            return True
    return False


def address_towards(host: str, port: int, *, machines: int) -> str | None:
    """The address of this machine from which it reaches `host`; none where there is no way.

    Where `host` is this machine, and there are others, it is one at which those reach it.
    """
    for family, _, _, _, (address, *_) in _found(host, port):
        here = _source(family, address, port)
        if here is not None and here.startswith(("127.", "::1")) and machines > 1:
            here = _source(socket.AF_INET, *_ELSEWHERE) or here
        if here is not None:
            return here
    return None


def choose_interface(host: str, port: int, *, machines: int, environ: MutableMapping[str, str] = os.environ) -> None:
    """Let gloo take the interface that leads to `host`, unless somebody has said which."""
    if environ.get(_INTERFACE):
        return
    address = address_towards(host, port, machines=machines)
    interface = None if address is None else _interface_of(address)
    if interface is not None:
        environ[_INTERFACE] = interface


def _found(host: str, port: int) -> list[tuple[int, int, int, str, tuple[str, ...]]]:
    with suppress(OSError, UnicodeError):
        return socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)  # type: ignore[return-value]
    return []


def _source(family: int, address: str, port: int) -> str | None:
    """What this machine would write as the sender; nothing is sent."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asked:
        asked.connect((address, port))
        return str(asked.getsockname()[0])
    return None


def _interface_of(address: str) -> str | None:
    """The name of the interface that has `address`; none where the system does not say."""
    with suppress(OSError):
        if ":" in address:
            wanted = socket.inet_pton(socket.AF_INET6, address.partition("%")[0]).hex()
            lines = Path("/proc/net/if_inet6").read_text().splitlines()
            return next((words[-1] for words in map(str.split, lines) if words[0] == wanted), None)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            for _, name in socket.if_nameindex():
                if _address_of(asked, name) == address:
                    return name
    return None


def _address_of(asked: socket.socket, name: str) -> str | None:
    """The IPv4 address of an interface: of those of Linux; others are not asked."""
    with suppress(ImportError, OSError):
        import fcntl

        answer = fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
        return socket.inet_ntoa(answer[20:24])
    return None

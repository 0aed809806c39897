"""Which interface leads to another machine, and connections that notice when it does not answer."""

import socket
import sys

import pytest

from expc.runtime.distributed.interfaces import address_towards, choose_interface, is_free, is_here
from expc.runtime.distributed.meeting import SILENCE, _watch_connections

NOBODY = "192.0.2.1"
"""RFC 5737: no machine has it."""


def test_a_machine_knows_its_own_addresses() -> None:
    assert is_here("127.0.0.1")
    assert is_here("localhost")
    assert not is_here("198.51.100.7")
    assert not is_here("no-such-machine.invalid")


def test_only_one_of_two_launchers_on_a_machine_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free("127.0.0.1", port)
    assert is_free("127.0.0.1", port)


@pytest.mark.skipif(sys.platform != "linux", reason="it asks as Linux is asked")
def test_gloo_takes_the_interface_that_leads_to_the_others() -> None:
    environ: dict[str, str] = {}
    choose_interface("127.0.0.1", 29400, machines=1, environ=environ)
    assert environ == {"GLOO_SOCKET_IFNAME": "lo"}
    choose_interface(NOBODY, 29400, machines=2, environ=environ)
    assert environ == {"GLOO_SOCKET_IFNAME": "lo"}, "somebody has said which"


def test_others_do_not_reach_this_machine_at_its_loopback() -> None:
    assert address_towards("127.0.0.1", 29400, machines=1) == "127.0.0.1"
    if address_towards(NOBODY, 9, machines=2) is None:
        pytest.skip("this machine has no network")
    assert address_towards("127.0.0.1", 29400, machines=2) == address_towards(NOBODY, 9, machines=2) != "127.0.0.1"


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system lets nobody say how long it waits")
def test_only_connections_to_the_meeting_are_watched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as one, socket.create_connection(other.getsockname()) as two:
            _watch_connections(port)
            assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == SILENCE * 1000
            assert not two.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

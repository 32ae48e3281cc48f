"""The address that the page listens on."""

import socket

from conftest import refused

from tlrec.demo.config import DemoConfig
from tlrec.demo.server import listen


def test_listen_takes_a_free_port_of_the_loopback_address_alone():
    with listen(DemoConfig().host, 0) as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1" and port > 0
        refused(f"--port {port}", listen, host, port)
    refused("--host 192.0.2.1", listen, "192.0.2.1", 0)
    refused("--port 70000", DemoConfig(port=70000).check)


def test_listen_on_an_ipv6_address():
    if socket.has_ipv6:
        with listen("::1", 0) as listener:
            assert listener.getsockname()[0] == "::1"

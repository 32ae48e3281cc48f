"""The address that the page listens on."""

import asyncio
import socket

import pytest
from conftest import refused

from tlrec.demo.config import DemoConfig
from tlrec.demo.server import Guard, listen


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


def status(host, path, asked):
    """Of a request to a page that listens on `host`; 200 from the page itself."""
    sent = []

    async def page(scope, receive, send):
        await send({"status": 200})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": [(b"host", asked.encode())]}
    asyncio.run(Guard(page, host)(scope, None, send))
    return sent[0]["status"]


@pytest.mark.parametrize("asked", ["127.0.0.1:7860", "localhost", "[::1]:7860", "LOCALHOST:1"])
def test_a_local_page_answers_to_names_of_this_machine(asked):
    assert status("127.0.0.1", "/config", asked) == status("::1", "/config", asked) == 200


@pytest.mark.parametrize("asked", ["evil.example", "evil.example:7860", "", "127.0.0.1.evil.example", "[", "192.0.2.1"])
def test_a_local_page_refuses_foreign_names(asked):
    assert status("127.0.0.1", "/config", asked) == 400
    assert status("0.0.0.0", "/config", asked) == 200


@pytest.mark.parametrize("path", [
    "/gradio_api/file=/etc/passwd", "/file=x", "/gradio_api/upload", "/gradio_api/proxy=x",
    "/gradio_api/stream/1/2/3/playlist.m3u8"])
def test_routes_of_files_are_closed(path):
    assert status("127.0.0.1", path, "localhost") == status("0.0.0.0", path, "x") == 404

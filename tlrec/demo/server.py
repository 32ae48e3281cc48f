"""Serve the page with uvicorn: no files of this machine, no other host, no foreign name for this one."""

import ipaddress
import os
import socket
import threading
from urllib.parse import urlsplit

from tlrec.errors import InputError

# no host but its own: neither script, font, picture nor request; gradio's page has inline scripts and builds functions
POLICY = ("default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
          "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
          "base-uri 'self'; form-action 'self'; frame-ancestors 'none'")
HEADERS = [("Content-Security-Policy", POLICY), ("Referrer-Policy", "no-referrer"),
           ("X-Content-Type-Options", "nosniff")]

FILE_ROUTES = {"file", "upload", "upload_progress", "proxy", "stream", "deep_link", "component_server"}


def import_gradio():
    """gradio with its analytics and version check off. InputError where it is not installed."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise InputError(f"gradio is missing ({error}); `bash shell/demo.sh` installs it and opens the page") from None
    return gradio


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. InputError where the address is in use or not this machine's."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: {error.strerror}; give another, or --port 0 for a free port"
                         ) from None


def serve(page, listener: socket.socket, theme, css: str) -> None:
    """Serve a gradio page until Ctrl-C or SIGTERM."""
    import uvicorn
    from fastapi import FastAPI

    gradio = import_gradio()
    gradio.processing_utils.async_move_files_to_cache = _unmoved
    host, port = listener.getsockname()[:2]
    app = gradio.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None), page, path="/", server_name=host, server_port=port,
        footer_links=[], show_error=False, ssr_mode=False, pwa=False, mcp_server=False, max_file_size=1, theme=theme,
        css=css)
    server = uvicorn.Server(uvicorn.Config(Guard(app, host), log_level="warning", headers=HEADERS,
                                           timeout_graceful_shutdown=3))
    address = f"[{host}]" if ":" in host else host
    threading.Thread(target=_announce, args=(server, f"http://{address}:{port}"), daemon=True).start()
    server.run(sockets=[listener])


async def _unmoved(data, *_, **__):
    """The page has no files. gradio's own function copies any file that a request names, or downloads it."""
    return data


class Guard:
    """ASGI application that answers 404 for gradio's routes of files, and 400 where a page that listens on this machine
    alone is asked by another name: a web site whose name is made to point here could read it."""

    def __init__(self, app, host: str):
        self.app, self.is_local = app, ipaddress.ip_address(host).is_loopback

    async def __call__(self, scope, receive, send) -> None:
        status = self._refusal(scope) if scope["type"] == "http" else None
        if status is None:
            await self.app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    def _refusal(self, scope) -> int | None:
        if any(part.partition("=")[0] in FILE_ROUTES for part in scope["path"].split("/")):
            return 404
        asked = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        try:
            name = urlsplit(f"//{asked}").hostname or ""
            local = name == "localhost" or ipaddress.ip_address(name).is_loopback
        except ValueError:
            local = False
        return None if local or not self.is_local else 400


def _announce(server, address: str) -> None:
    while not server.started:
        threading.Event().wait(0.05)
    print(f"open {address} in a browser; Ctrl-C ends it", flush=True)

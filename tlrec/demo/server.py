"""Serve the page with uvicorn; what it sends tells the browser to ask no other host."""

import os
import socket
import threading

from tlrec.errors import InputError

# no host but its own: neither script, font, picture nor request; gradio's page has inline scripts and builds functions
POLICY = ("default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
          "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
          "base-uri 'self'; form-action 'self'; frame-ancestors 'none'")
HEADERS = [("Content-Security-Policy", POLICY), ("Referrer-Policy", "no-referrer"),
           ("X-Content-Type-Options", "nosniff")]


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
    host, port = listener.getsockname()[:2]
    app = gradio.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None), page, path="/", server_name=host, server_port=port,
        footer_links=[], show_error=False, ssr_mode=False, pwa=False, mcp_server=False, max_file_size=1, theme=theme,
        css=css)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", headers=HEADERS, timeout_graceful_shutdown=3))
    address = f"[{host}]" if ":" in host else host
    threading.Thread(target=_announce, args=(server, f"http://{address}:{port}"), daemon=True).start()
    server.run(sockets=[listener])


def _announce(server, address: str) -> None:
    while not server.started:
        threading.Event().wait(0.05)
    print(f"open {address} in a browser; Ctrl-C ends it", flush=True)

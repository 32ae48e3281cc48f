"""Downloads stay with https and with our own hosts, redirects included."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from conftest import refused

from rec_data import movielens, published
from tlrec.data import download


class Redirect(BaseHTTPRequestHandler):
    """Answers every request with a redirect to the same path on `server.elsewhere`."""

    def log_message(self, *_):
        pass

    def do_GET(self):  # noqa: N802
        self.server.seen.append(self.path)
        self.send_response(302)
        self.send_header("Location", self.server.elsewhere + self.path)
        self.end_headers()


def test_download_url_refuses_a_redirect_to_another_host(tmp_path, monkeypatch):
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Redirect) for _ in range(2)]
    for server in servers:
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
    ours, other = servers
    ours.elsewhere = f"http://localhost:{other.server_port}"
    monkeypatch.setattr(download, "ALLOWED_REDIRECT_HOSTS", {"127.0.0.1"})
    refused("127.0.0.1", download.download_url, f"http://127.0.0.1:{ours.server_port}/file", tmp_path / "file")
    assert ours.seen == ["/file"] and other.seen == [] and not (tmp_path / "file").exists()
    for server in servers:
        server.shutdown()


def test_download_urls_are_https_on_allowed_hosts():
    for address in (movielens.GROUPLENS, published.BASE_URL):
        parts = download.urllib.parse.urlsplit(address)
        assert parts.scheme == "https" and parts.hostname in download.ALLOWED_REDIRECT_HOSTS

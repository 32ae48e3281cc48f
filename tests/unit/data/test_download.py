"""Downloads stay with https and with our own hosts, redirects included."""

from conftest import refused
from loopback_server import LoopbackServer, QuietHandler, running

from rec_data import movielens, published
from tlrec.data import download


class Redirect(QuietHandler):
    """Answers every request with a redirect to the same path on `server.elsewhere`."""

    def do_GET(self):  # noqa: N802
        self.server.seen.append(self.path)
        self.reply(302, headers={"Location": self.server.elsewhere + self.path})


def test_download_url_refuses_a_redirect_to_another_host(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ALLOWED_REDIRECT_HOSTS", {"127.0.0.1"})
    with running(LoopbackServer(Redirect)) as ours, running(LoopbackServer(Redirect)) as other:
        ours.seen, other.seen = [], []
        ours.elsewhere = f"http://localhost:{other.server_port}"
        refused("127.0.0.1", download.download_url, f"{ours.base}/file", tmp_path / "file")
        assert ours.seen == ["/file"] and other.seen == [] and not (tmp_path / "file").exists()


def test_download_urls_are_https_on_allowed_hosts():
    for address in (movielens.GROUPLENS, published.BASE_URL):
        parts = download.urllib.parse.urlsplit(address)
        assert parts.scheme == "https" and parts.hostname in download.ALLOWED_REDIRECT_HOSTS

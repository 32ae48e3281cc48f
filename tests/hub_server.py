"""A real HTTP server on loopback that answers as the Hugging Face Hub does, from folders."""

import hashlib
import re
from pathlib import Path

from loopback_server import LoopbackServer, QuietHandler

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Server(LoopbackServer):
    """models: {owner/name: folder}; each has the revisions main and COMMIT. gated: names whose files are refused."""

    def __init__(self, models: dict[str, Path], gated: tuple[str, ...] = ()):
        self.models, self.gated = models, gated
        self.seen: list[str] = []  # names of the files that were asked for
        super().__init__(Handler)


class Handler(QuietHandler):
    def do_HEAD(self):  # noqa: N802
        self.do_GET()

    def do_GET(self):  # noqa: N802
        path = self.path.partition("?")[0]
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(/(?:revision|tree)/([^/]+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        name, revision = (api[1], api[3]) if api else (file[1], file[2]) if file else ("", None)
        folder = self.server.models.get(name)
        if folder is None:
            self.reply(401, headers={"X-Error-Code": "RepoNotFound"})
        elif revision not in (None, "main", COMMIT):
            self.reply(404, headers={"X-Error-Code": "RevisionNotFound"})
        elif file and name in self.server.gated:
            self.reply(403, headers={"X-Error-Code": "GatedRepo"})
        elif file:
            content = (folder / file[3]).read_bytes()
            self.server.seen.append(file[3])
            self.reply(200, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT})
        else:
            paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            tree = [{"type": "file", "path": str(path.relative_to(folder)), "size": path.stat().st_size,
                     "oid": "0" * 40} for path in paths]
            self.reply(200, tree if "/tree/" in path else {"id": name, "sha": COMMIT})


def use(server: Server, cache: Path, monkeypatch) -> None:
    """Make huggingface_hub in this process ask the server, with a cache of its own."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.base)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                        server.base + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))

"""A real HTTP server on loopback that gives one file, slowly, cut off, wrong, failing or redirecting."""

import json
import re
import time

from loopback_server import LoopbackServer, QuietHandler

from tlrec.data import preference_text

NAME = "rec_data/book/valid.json"
SAMPLES = [
    preference_text.make_sample(
        "book", ['"A, B" written by X', '"C" written by É'], [1, 0], f'""T{i}" written by Z"?', i % 2
    )
    for i in range(400)
]
CONTENT = json.dumps(SAMPLES, indent=4).encode()


class Server(LoopbackServer):
    """Answers by `behaviour`, a list of words used up one a request; "good" when it is empty."""

    def __init__(self):
        self.behaviour: list[str] = []
        self.seen: list[tuple[str, str | None]] = []  # path and Range of every request
        super().__init__(Handler)


class Handler(QuietHandler):
    def do_GET(self):  # noqa: N802
        server = self.server
        server.seen.append((self.path, self.headers["Range"]))
        word = server.behaviour.pop(0) if server.behaviour else "good"
        if word.isdigit():
            self.reply(int(word))
            return
        if word == "redirect":
            self.reply(302, headers={"Location": f"{server.base}/elsewhere"})
            return
        body, start = (CONTENT if word != "wrong" else CONTENT.replace(b"Yes.", b"No!!")), 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if asked and word != "no-range":
            start = int(asked[1])
            if start >= len(body):
                self.reply(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if word != "no-length":
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        body = body[start:]
        if word == "cut":
            body = body[: len(body) // 2]
        for block in range(0, len(body), 8192):
            self.wfile.write(body[block : block + 8192])
            if word == "slow":
                time.sleep(0.02)
            if word == "stalls" and block > 16_000:
                time.sleep(1)
                return

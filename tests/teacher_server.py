"""A real HTTP server on loopback that plays an OpenAI-compatible teacher, with its faults, and made-up source data."""

import gzip
import hashlib
import json
import re
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from loopback_server import LoopbackServer, QuietHandler, running

from tlrec.data import preference_text

KEY = "sk-test-Kq7vT2mZx94"
FAULTS = ("429", "500", "hang", "cut", "empty", "no choices", "filter", "not json", "trickle")
REFUSALS = {"401": (401, "invalid_api_key"), "404": (404, "model_not_found"), "400": (400, "bad_request"),
            "quota": (429, "insufficient_quota"), "key": (400, "sk_live_abcdefghijkl")}


class Teacher(LoopbackServer):
    """share: of prompts that meet a fault on their first request; always: a fault or refusal for every request."""

    def __init__(self, share: float = 0, always: str = "", latency: float = 0, faults: tuple = FAULTS):
        super().__init__(_Handler)
        self.share, self.always, self.latency, self.faults = share, always, latency, faults
        self.seen: dict[str, int] = {}
        self.answered: dict[str, int] = {}
        self.most_at_once = self._now = self.sent = 0
        self.keys: set[str] = set()
        self.azure_keys: set[str] = set()
        self.paths: set[str] = set()
        self.bodies: list[dict] = []
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"{self.base}/v1"

    @property
    def requests(self) -> int:
        return sum(self.seen.values())

    def handle_error(self, request, client_address):
        """A client that goes away is part of the play."""

    @contextmanager
    def counted(self, prompt: str):
        with self._lock:
            self.seen[prompt] = self.seen.get(prompt, 0) + 1
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield self.seen[prompt]
        finally:
            with self._lock:
                self._now -= 1

    def reply_to(self, request: dict) -> dict:
        return self.completion(prompt_of(request))

    def completion(self, prompt: str) -> dict:
        return completion(answer(prompt))

    def refuse(self, request: dict) -> tuple[int, object, dict] | None:
        """Status, body and headers of an error that this request gets; replaced by tests."""

    def fault(self, prompt: str, attempt: int) -> str:
        if self.always:
            return self.always
        number = int(hashlib.sha256(prompt.encode()).hexdigest()[:8], 16)
        hit = attempt == 1 and number % 1000 < 1000 * self.share
        return self.faults[number // 1000 % len(self.faults)] if hit else ""


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.add(self.headers["Authorization"])
        self.server.azure_keys.add(self.headers["api-key"])
        self.server.paths.add(self.path)
        self.server.bodies.append(request)
        prompt = prompt_of(request)
        with self.server.counted(prompt) as attempt:
            time.sleep(self.server.latency)
            fault = self.server.fault(prompt, attempt)
            if refusal := self.server.refuse(request):
                self.reply(*refusal)
            elif fault in REFUSALS:
                status, code = REFUSALS[fault]
                self.reply(status, {"error": {"message": f"no: {KEY}", "code": code}})
            elif fault:
                self.play(fault)
            else:
                self.server.answered[prompt] = self.server.answered.get(prompt, 0) + 1
                self.reply(200, self.server.reply_to(request))

    def play(self, fault: str) -> None:
        if fault == "429":
            self.reply(429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, {"Retry-After": "1"})
        elif fault == "500":
            self.reply(500, {"error": {"message": "oops"}})
        elif fault == "hang":
            time.sleep(4)
        elif fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [{"mess')
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "empty":
            self.reply(200, completion(""))
        elif fault == "no choices":
            self.reply(200, {"id": "x", "choices": []})
        elif fault == "filter":
            self.reply(200, completion(None, "content_filter"))
        elif fault == "not json":
            self.reply(200, b"<html>busy</html>")
        elif fault == "trickle":
            self.send_response(200)
            self.send_header("Content-Length", "80")
            self.end_headers()
            for _ in range(40):  # a byte is always on its way, the reply never is
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.1)
        elif fault.startswith("endless"):
            self.send_response(int(fault.split()[1]))
            self.end_headers()  # of no stated length: until the connection is closed
            try:
                while True:
                    self.server.sent += self.connection.send(b" " * 65536)
            except OSError:
                pass
        elif fault == "compressed":
            content = gzip.compress(b" " * (64 << 20))
            self.reply(200, content, {"Content-Encoding": "gzip"})
        self.close_connection = True

    def reply(self, status: int, body: object, headers: dict | None = None) -> None:
        own = {"Content-Type": "application/json", "x-request-id": f"of {KEY}"}
        super().reply(status, body, own | (headers or {}))


def prompt_of(request: dict) -> str:
    return request["messages"][-1]["content"] if "messages" in request else request["prompt"]


def completion(content: str | list | None, finish: str = "stop", **message) -> dict:
    return {"model": "teacher-1", "choices": [{"message": {"role": "assistant", "content": content, **message},
                                               "finish_reason": finish}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10}}


def reasoning_model(request: dict) -> tuple[int, object, dict] | None:
    """OpenAI's errors for the parameters that its reasoning models do not take."""
    if "max_tokens" in request:
        message = ("Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                   "'max_completion_tokens' instead.")
        name, code = "max_tokens", "unsupported_parameter"
    elif request.get("temperature", 1) != 1:
        message = ("Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value "
                   "is supported.")
        name, code = "temperature", "unsupported_value"
    elif "top_p" in request:
        message = "Unsupported parameter: 'top_p' is not supported with this model."
        name, code = "top_p", "unsupported_parameter"
    else:
        return None
    return 400, {"error": {"message": message, "type": "invalid_request_error", "param": name, "code": code}}, {}


class TokensPerMinute:
    """A limit of so many requests in each `period` seconds, and OpenAI's error without Retry-After beyond it."""

    def __init__(self, requests: int, period: float):
        self.requests, self.period, self.times, self.refused = requests, period, [], 0
        self._lock = threading.Lock()

    def __call__(self, request: dict) -> tuple[int, object, dict] | None:
        with self._lock:
            now = time.monotonic()
            self.times = [moment for moment in self.times if moment > now - self.period]
            if len(self.times) < self.requests:
                self.times.append(now)
                return None
            self.refused += 1
            wait = self.times[0] + self.period - now
        message = ("Rate limit reached for gpt-4 in organization org-x on tokens per min (TPM): Limit 10000, "
                   f"Used 9900, Requested 900. Please try again in {1000 * wait:.0f}ms. Visit https://example.org.")
        return 429, {"error": {"message": message, "type": "tokens", "param": None, "code": "rate_limit_exceeded"}}, {}


def answer(prompt: str) -> str:
    """What this teacher says: always the same to the same prompt."""
    shown, watched = (re.findall(r'"(.*?)"', line) for line in prompt.splitlines()[:2])
    if "Step 3." in prompt:
        return "\n".join(f"{number}. {watched[0]} - {title}" for number, title in enumerate(shown[:10], 1))
    if "Step 2." in prompt:
        return "\n".join(f"{number}. {title}" for number, title in enumerate(watched[:5], 1))
    return f"Films like {watched[0]}."


def teacher(kind=Teacher, **settings):
    return running(kind(**settings))


def source(folder: Path, count: int, seed: int = 0) -> Path:
    """A train.json of liked and disliked samples over forty films, in a folder that the wrappers take for complete."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        entries = [f'"No Film {item} ({1950 + item})"' for item in generator.permutation(40)[:11]]
        likes = generator.integers(0, 2, 10).tolist()
        rows.append(preference_text.make_sample("movie", entries[:10], likes, f"{entries[10]}?", int(number % 5 > 0)))
    path = folder / "instruction_data" / "movielens" / "train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, content in (("train", rows), ("valid", []), ("test", [])):
        path.with_name(f"{name}.json").write_text(json.dumps(content))
    return path

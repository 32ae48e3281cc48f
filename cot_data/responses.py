"""Interpret a server's reply: an answer, a retryable error, a failed sample, or the end of the run."""

import json
import math
import re
import time
from email.utils import parsedate_to_datetime

from tlrec.errors import InputError

MAX_WAIT = 3600  # seconds, of a Retry-After header
FATAL_STATUS = {401: "the key is rejected", 402: "payment is required", 403: "the key has no access",
                404: "the server does not know the model or the address"}
REFUSED_STATUS = {400, 413, 422}  # of this request; another sample may succeed
QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}


class SampleFailed(Exception):
    """This request has no usable answer; others may."""


class RetryableError(Exception):
    """Try again after at least `wait` seconds; `reply` is the parsed reply where it may have cost money."""

    def __init__(self, reason: str, wait: float = 0, reply: dict | None = None):
        super().__init__(reason)
        self.wait, self.reply = wait, reply


def error_code(body: object) -> str:
    """The code, or else the type, of the parsed body of an error; empty where it has none."""
    details = body.get("error", body) if isinstance(body, dict) else {}
    return str(details.get("code") or details.get("type") or "") if isinstance(details, dict) else ""


def error_from_status(status: int, retry_after: str | None, code: str) -> Exception:
    """The exception to raise for an HTTP error status and code: RetryableError, SampleFailed or InputError."""
    if status == 429 and code in QUOTA_CODES:
        return InputError("429: the quota is empty; the run stops, and answers so far are kept")
    if status in FATAL_STATUS:
        return InputError(f"{status}: {FATAL_STATUS[status]}; the run stops, and answers so far are kept")
    if code == "content_filter":
        return RetryableError("content filter")
    if status in REFUSED_STATUS:
        shown = f" ({code})" if re.fullmatch("[a-z_]{3,40}", code) else ""
        return SampleFailed(f"{status}: the server refuses the request{shown}")
    return RetryableError(f"status {status}", _seconds(retry_after))


def _seconds(retry_after: str | None) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0 where it is neither."""
    try:
        wait = float(retry_after or 0)
    except ValueError:
        try:
            wait = parsedate_to_datetime(retry_after or "").timestamp() - time.time()
        except ValueError:
            wait = 0
    return min(max(wait, 0), MAX_WAIT) if math.isfinite(wait) else 0


def parse_completion(body: bytes) -> tuple[str, dict]:
    """The text of a chat completion and the parsed reply. RetryableError where there is no usable text."""
    reply = None
    try:
        reply = json.loads(body)
        choices = reply.get("choices")
        if not choices:
            raise RetryableError("the reply has no choices", reply=reply)
        text, finish = choices[0]["message"].get("content"), choices[0].get("finish_reason")
        if finish == "content_filter":
            raise RetryableError("content filter", reply=reply)
        if not text or not text.strip():
            raise RetryableError("the answer is empty", reply=reply)
        text.encode()  # a lone surrogate is not text
        if "\0" in text:
            raise RetryableError("the answer contains NUL", reply=reply)
    except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
        raise RetryableError("the reply could not be read", reply=reply if isinstance(reply, dict) else None) from None
    return text, reply

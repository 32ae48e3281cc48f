"""What a server's reply means: an answer, one more try, no answer for this request, or the end of the run."""

import json
import math
import re
import time
from email.utils import parsedate_to_datetime

from tlrec.errors import InputError

LONGEST_WAIT = 3600  # seconds that a Retry-After may ask for
STOPS = {401: "the key is rejected", 402: "the server wants to be paid", 403: "the key has no access",
         404: "the server does not know the model or the address"}
HOPELESS = {400, 413, 422}  # for this request; another sample may do
NO_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}


class SampleFailed(Exception):
    """This request has no usable answer; others may."""


class RetryableError(Exception):
    """Worth another try, after `wait` seconds at least; `reply` is what came, where it may have cost money."""

    def __init__(self, reason: str, wait: float = 0, reply: dict | None = None):
        super().__init__(reason)
        self.wait, self.reply = wait, reply


def error_from_status(status: int, retry_after: str | None, body: object) -> Exception:
    """What an HTTP error status means: Again, GivenUp or InputError, to be raised."""
    details = body.get("error", body) if isinstance(body, dict) else {}
    code = str(details.get("code") or details.get("type") or "") if isinstance(details, dict) else ""
    if status == 429 and code in NO_QUOTA:
        return InputError("429: the quota is empty; nothing more is asked, and answers so far are kept")
    if status in STOPS:
        return InputError(f"{status}: {STOPS[status]}; nothing more is asked, and answers so far are kept")
    if code == "content_filter":
        return RetryableError("content filter")
    if status in HOPELESS:
        told = f" ({code})" if re.fullmatch("[a-z_]{3,40}", code) else ""  # a word, which is no key
        return SampleFailed(f"{status}: the server refuses the request{told}")
    return RetryableError(f"status {status}", _seconds(retry_after))


def _seconds(retry_after: str | None) -> float:
    """Retry-After as seconds: a number, or a date."""
    try:
        wait = float(retry_after or 0)
    except ValueError:
        try:
            wait = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            wait = 0
    return min(max(wait, 0), LONGEST_WAIT) if math.isfinite(wait) else 0


def parse_completion(body: bytes) -> tuple[str, dict]:
    """The text of a chat completion and the whole reply."""
    reply = None
    try:
        reply = json.loads(body)
        choices = reply.get("choices")
        if not choices:
            raise RetryableError("a reply without choices", reply=reply)
        text, finish = choices[0]["message"].get("content"), choices[0].get("finish_reason")
        if finish == "content_filter":
            raise RetryableError("content filter", reply=reply)
        if not text or not text.strip():
            raise RetryableError("an empty answer", reply=reply)
        text.encode()  # half a surrogate pair is no text
    except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
        raise RetryableError("the reply could not be read", reply=reply if isinstance(reply, dict) else None) from None
    return text, reply

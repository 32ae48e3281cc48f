"""A client for any OpenAI-compatible server that is careful with money and with the key.

The key (OPENAI_API_KEY) and the address (OPENAI_BASE_URL) come from the environment alone and stand in no file, record
or message: of a failing server only the status and its error code are told.
"""

import asyncio
import hashlib
import json
import math
import os
import random
import time
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from cot_data.ledger import Ledger
from cot_data.responses import RetryableError, SampleFailed, error_from_status, parse_completion
from tlrec.errors import InputError, first_line


class BudgetExceeded(Exception):
    """The next request might cost more than the budget leaves."""


@dataclass(frozen=True)
class RequestSettings:
    """What determines an answer."""

    model: str
    temperature: float
    max_tokens: int
    top_p: float
    seed: int  # of the candidates' order
    server: str = "openai"  # `local`, or letters that change with the address


@dataclass(frozen=True)
class Pricing:
    """Dollars for a million tokens read and written, and the most to spend; None is no limit."""

    price_in: float = 0.0
    price_out: float = 0.0
    limit: float | None = None

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6


def estimated_tokens(text: str) -> int:
    """A rough and rather high count, for estimates before an answer is there: three bytes a token."""
    return math.ceil(len(text.encode()) / 3) + 8


def server_name(local: bool, address: str | None) -> str:
    """What tells one server's answers from another's, without its address. A local one may change its port."""
    return "local" if local else hashlib.sha256(address.encode()).hexdigest()[:10] if address else "openai"


def key_and_address(local: bool) -> tuple[str, str | None]:
    """From the environment; InputError where the key is missing or cannot be one, or the address is none."""
    address = os.environ.get("OPENAI_BASE_URL", "").strip() or None
    if address:
        try:
            parts = urlsplit(address)
            right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            right = False
        if not right:
            raise InputError("OPENAI_BASE_URL is no address; export one like http://HOST:PORT/v1")
    if local:
        if not address:
            raise InputError("OPENAI_BASE_URL is not set; --teacher local needs the local server's address there")
        return "none", address  # the user's key is not for this server
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        raise InputError("OPENAI_API_KEY is not set; export the key of an OpenAI-compatible server (and, where it is "
                         "not OpenAI's, OPENAI_BASE_URL), or use --teacher rules or local, which need none")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError("OPENAI_API_KEY holds characters that no key has; export it again")
    return key, address


class TeacherClient:
    """Asks, tries again, and puts every reply into the ledger before anybody uses it."""

    def __init__(
        self, settings: RequestSettings, ledger: Ledger, money: Pricing, key: str, address: str | None, tries: int,
        timeout: float, pause: float,
    ):
        from openai import AsyncOpenAI

        self._settings, self._ledger, self._money = settings, ledger, money
        self._tries, self.timeout, self._pause, self._key = tries, timeout, pause, key
        try:
            self._openai = AsyncOpenAI(api_key=key, base_url=address, max_retries=0, timeout=timeout)
        except ImportError:  # httpx' own, for a proxy
            raise InputError("the proxy in the environment (ALL_PROXY, HTTPS_PROXY) is of a kind that needs a further "
                             "package; unset it, or pip install socksio") from None
        except Exception as error:  # of several kinds, for an address that is none
            raise InputError(f"OPENAI_BASE_URL or the proxy in the environment is no address ({first_line(error)}); "
                             "mend it, or unset it") from None
        self._create = self._openai.chat.completions.with_raw_response.create  # imports much: not on a request's time
        self._reserved = 0.0
        self.requests, self.stopping = 0, asyncio.Event()

    async def answer(self, sample: int, step: int, prompt: str) -> str:
        """The answer to one request, from the ledger where it is known.

        Raises GivenUp after as many tries as allowed, Spent before the limit would be passed, InputError where asking
        on makes no sense for any sample.
        """
        known = self.known(sample, step, prompt)
        if known is not None:
            return known
        request = self._request(sample, step, prompt)
        place = {"request": request, "sample": sample, "step": step, "model": self._settings.model}
        for attempt in range(self._tries):
            if self.stopping.is_set():
                raise SampleFailed("the run is stopping")
            try:
                return await self._paid(place, prompt)
            except RetryableError as failure:
                reason = str(failure)
                if attempt == self._tries - 1:
                    break
                backoff = self._pause * 2**attempt * random.uniform(0.75, 1.25)
                await self._sleep(max(failure.wait, min(backoff, 60)))
        raise SampleFailed(f"{reason}, {self._tries} tries")

    def known(self, sample: int, step: int, prompt: str) -> str | None:
        """The answer that the ledger holds."""
        return self._ledger.get(self._request(sample, step, prompt))

    def _request(self, sample: int, step: int, prompt: str) -> str:
        text = json.dumps([asdict(self._settings), sample, step, prompt])
        return hashlib.sha256(text.encode()).hexdigest()

    async def close(self) -> None:
        await self._openai.close()

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            pass

    async def _paid(self, place: dict, prompt: str) -> str:
        """One try, with its reply in the ledger and never more in flight than the limit allows."""
        worst = self._money.cost(estimated_tokens(prompt), self._settings.max_tokens)
        limit = self._money.limit
        if limit is not None and self._ledger.cost + self._reserved + worst > limit:
            raise BudgetExceeded
        self._reserved += worst
        began = time.monotonic()
        try:
            answer, reply = await self._ask(prompt)
            await self._ledger.append(self._record(place, prompt, answer, reply, began))
            return answer
        except RetryableError as failure:
            if failure.reply is not None:
                await self._ledger.append(self._record(place, prompt, None, failure.reply, began))
            raise
        finally:
            self._reserved -= worst

    def _record(self, place: dict, prompt: str, answer: str | None, reply: dict, began: float) -> dict:
        usage = reply.get("usage") if isinstance(reply.get("usage"), dict) else {}
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        told = all(isinstance(count, int) and 0 <= count < 10**9 for count in counts)
        if not told:  # a reply without an answer that names no price is taken as free
            counts = [0, 0] if answer is None else [estimated_tokens(prompt), estimated_tokens(answer)]
        return place | {
            "answer": answer, "served_by": str(reply.get("model")), "prompt_tokens": counts[0],
            "completion_tokens": counts[1], "tokens_estimated": not told, "cost": self._money.cost(*counts),
            "seconds": round(time.monotonic() - began, 3),
        }

    async def _ask(self, prompt: str) -> tuple[str, dict]:
        """One request: the answer and the whole reply. Again, GivenUp or InputError where there is none."""
        import openai

        chosen = self._settings
        self.requests += 1
        try:
            raw = await asyncio.wait_for(self._create(
                model=chosen.model, messages=[{"role": "user", "content": prompt}], temperature=chosen.temperature,
                max_tokens=chosen.max_tokens, top_p=chosen.top_p, n=1,
            ), self.timeout)
            return parse_completion(raw.http_response.content.replace(self._key.encode(), b"[key]"))
        except (TimeoutError, openai.APITimeoutError):
            raise RetryableError(f"no answer in {self.timeout:g} s") from None
        except openai.APIConnectionError:
            raise RetryableError("the connection failed") from None
        except openai.APIStatusError as error:
            failure = error.status_code, error.response.headers.get("Retry-After"), error.body
        except (openai.APIError, ValueError):
            raise RetryableError("the reply could not be read") from None
        raise error_from_status(
            *failure
        )  # out here it does not carry the server's own message, which may quote the key

"""Address and key of an OpenAI-compatible server, and the SDK's client for it.

The key (OPENAI_API_KEY) and the address (OPENAI_BASE_URL) are read from the environment only. They are never written
to a file, record or message: of a failed request only the status and its error code are reported. What a server sends
back is searched for the key by contains_key() before it is recorded or printed.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tlrec.api.responses import RetryableError
from tlrec.errors import InputError, first_line

if TYPE_CHECKING:
    from openai import AsyncOpenAI

KEY_PART = 12  # characters in a row that give a key away; shorter keys are placeholders, as `test` or `EMPTY`
MAX_REPLY_BYTES = 4 << 20  # a sample's 200,000 characters, each as an escape of JSON, fit
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")


def server_name(local: bool, address: str | None) -> str:
    """Identifies a server without revealing its address. A local one may change its port, Azure's the API version."""
    text = re.sub(r"[?&]api-version=[^&#]*", "", address or "")
    return "local" if local else hashlib.sha256(text.encode()).hexdigest()[:10] if text else "openai"


def key_and_address(local: bool, otherwise: str = "") -> tuple[str, str | None]:
    """API key and base URL from the environment; InputError where one is missing or invalid.

    local: a server on this machine, which gets no key. otherwise: what the message of a missing key adds.
    """
    address = os.environ.get("OPENAI_BASE_URL", "").strip() or None
    if address:
        try:
            url = urlsplit(address)
            valid = url.scheme in ("http", "https") and url.hostname and url.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise InputError("OPENAI_BASE_URL is not a valid URL; export one like http://HOST:PORT/v1")
    if local:
        if not address:
            raise InputError("OPENAI_BASE_URL is not set; export the local server's address, as http://HOST:PORT/v1")
        return "none", address  # the user's key is not for this server
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        raise InputError("OPENAI_API_KEY is not set; export the key of an OpenAI-compatible server (and, where it is "
                         f"not OpenAI's, OPENAI_BASE_URL){otherwise}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError("OPENAI_API_KEY contains invalid characters; export it again")
    return key, address


def contains_key(text: str, key: str) -> bool:
    """Whether the text holds 12 characters in a row of the key, as it is or under escapes of JSON or URLs.

    False for a key of fewer characters: it may be a word of an answer.
    """
    forms = [text]
    for _ in range(3):  # an echo may be quoted within a quotation
        forms.append(unquote(_ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else match[2], forms[-1])))
    parts = {key[start : start + KEY_PART] for start in range(len(key) - KEY_PART + 1)}
    return any(part in form for form in dict.fromkeys(forms) for part in parts)


def connect(key: str, address: str | None, timeout: float) -> "AsyncOpenAI":
    """The SDK's client, without retries of its own; InputError where address or proxy cannot be used.

    timeout: seconds. Nothing is sent yet. Requests raise RetryableError for a reply over MAX_REPLY_BYTES. The query of
    the address goes with every request. An `api-version` there is Azure's, which takes the key in a header of its own.
    """
    from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAsyncHttpxClient

    for handler in logging.getLogger().handlers:  # OPENAI_LOG prints headers of the server
        handler.addFilter(_hide_key(key))
    url = urlsplit(address or "")
    query: dict[str, object] = dict(parse_qsl(url.query, keep_blank_values=True))
    # Azure's portal shows the address of a request
    path = url.path.rstrip("/").removesuffix("/completions").removesuffix("/chat")
    try:
        options: dict[str, Any] = {
            "api_key": key, "max_retries": 0, "timeout": timeout, "default_headers": {"Accept-Encoding": "identity"},
            "http_client": DefaultAsyncHttpxClient(event_hooks={"response": [_limited_reply()]})}
        if "api-version" in query and "v1" not in path.split("/"):
            base_url = url._replace(path=path or "/openai", query="", fragment="").geturl()
            return AsyncAzureOpenAI(base_url=base_url, api_version=str(query.pop("api-version")), default_query=query,
                                    **options)
        base_url = url._replace(path=path, query="", fragment="").geturl()
        return AsyncOpenAI(base_url=base_url or None, default_query=query, **options)
    except ImportError:  # httpx raises it for a SOCKS proxy
        raise InputError("the proxy in the environment (ALL_PROXY, HTTPS_PROXY) is a SOCKS proxy, which needs a "
                         "further package; unset it, or pip install socksio") from None
    except Exception as error:  # httpx raises several kinds for an invalid address
        raise InputError(f"OPENAI_BASE_URL or the proxy in the environment is not a valid URL ({first_line(error)}); "
                         "correct it, or unset it") from None


def _hide_key(key: str) -> Callable[[logging.LogRecord], bool]:
    """A filter of log lines: one that contains the key says only that."""

    def hide(record: logging.LogRecord) -> bool:
        if contains_key(record.getMessage(), key):
            record.msg, record.args = "(a line that contains the API key)", ()
        return True

    return hide


def _limited_reply() -> Callable:
    """A hook that limits the body of every response, whatever its status, while it is received."""
    import httpx2

    class LimitedStream(httpx2.AsyncByteStream):
        def __init__(self, stream):
            self._stream = stream

        async def __aiter__(self):
            received = 0
            async for part in self._stream:
                received += len(part)
                if received > MAX_REPLY_BYTES:
                    raise RetryableError(f"the reply is longer than {MAX_REPLY_BYTES >> 20} MiB")
                yield part

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def limit(response: httpx2.Response) -> None:
        if response.headers.get("Content-Encoding", "identity") != "identity":  # a few bytes may become gigabytes
            raise RetryableError("the reply is compressed, which was not asked for")
        response.stream = LimitedStream(response.stream)

    return limit

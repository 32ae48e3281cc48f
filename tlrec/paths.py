"""Paths of data, models, results and the cache; variables of the environment that set them.

TLREC_HOME     folder that holds data, models, adapters and results (default: the repository itself)
TLREC_MIRROR   folder laid out like the authors' repository, used instead of a download
TLREC_CACHE    folder for downloads that several checkouts share (default: ~/.cache/tlrec)
"""

import errno
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from tlrec.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


def read_path(text: str) -> str | None:
    """A path as a person means it, in a flag or variable: without blanks around it and slashes at its end, ~ expanded;
    None for an empty text and for `None`, which scripts write for it. InputError where ~ or ~user has no home."""
    text = text.strip()
    if text in ("", "None"):
        return None
    path = os.path.expanduser(text)
    if path.startswith("~"):
        raise InputError(f"{text}: {path.split('/')[0]} has no home folder; correct the user's name, set HOME for your "
                         f"own, or write ./{text} for a name that begins with ~")
    return path.rstrip("/") or "/"


def home_dir() -> Path:
    return Path(read_path(os.environ.get("TLREC_HOME", "")) or ROOT).resolve()


def mirror_dir() -> Path | None:
    folder = read_path(os.environ.get("TLREC_MIRROR", ""))
    return Path(folder) if folder else None


def cache_dir() -> Path:
    return Path(read_path(os.environ.get("TLREC_CACHE", "")) or str(read_path("~/.cache/tlrec")))


def results_dir() -> Path:
    return home_dir() / "results"


def relative_to_home(value: Any) -> Any:
    """`value` with every path under the home folder made relative to it, in lists, dicts and texts with commas too."""
    if isinstance(value, dict):
        return {name: relative_to_home(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [relative_to_home(inner) for inner in value]
    return re.sub(rf"(^|,){re.escape(f'{home_dir()}{os.sep}')}", r"\1", value) if isinstance(value, str) else value


def data_files(text: str, folder: Path = Path()) -> list[Path]:  # noqa: B008
    """The files that a flag names, several with commas, relative to `folder`; one whose own name has a comma is one."""
    names = [text] if (folder / text).exists() else [read_path(part) or "" for part in text.split(",")]
    return [folder / name for name in names]


def check_writable(folder: str | Path, cure: str = "choose another folder") -> None:
    """InputError where `folder` is not writable, or cannot be created in its nearest existing parent."""
    folder = Path(os.path.abspath(folder))
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        read_only = os.statvfs(existing).f_flag & os.ST_RDONLY
        reason = "not a folder" if not existing.is_dir() else os.strerror(errno.EROFS if read_only else errno.EACCES)
        raise InputError(f"{folder}: not writable ({existing}: {reason}); {cure}")


def writable_directory(folder: str | Path, cure: str = "choose another folder") -> Path:
    """Create `folder` and write a temporary file in it; InputError with the reason where either fails."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"{folder}: not writable ({error.strerror}); {cure}") from None
    return folder

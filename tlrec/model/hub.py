"""Models and adapters by their name on the Hugging Face Hub, in the cache that other tools share.

`owner/name[@revision]`: settings and tokenizer are fetched and checked first, then the weights. Nothing else is
fetched: no code, and pickles (.bin) only where there are no safetensors.
"""

import contextlib
import functools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from tlrec.errors import InputError, first_line

NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[A-Za-z0-9][\w./-]*))?")
SETTINGS = ("*config.json", "*.index.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json",
            "vocab*.json", "vocab*.txt", "merges.txt", "*.model", "chat_template.json", "chat_template.jinja")
CACHED = re.compile(r"models--(.+?)--(.+)")  # the cache's folder of a repository, with snapshots/COMMIT in it


def is_hub_name(text: str) -> bool:
    """Whether a text may name a model on the Hub; a folder of that name goes first, which the caller looks for."""
    return NAME.fullmatch(text) is not None


def model_name(folder: Path) -> str:
    """The name of a model's or adapter's folder: `owner/name` in the Hub's cache. A link keeps its own name."""
    cached = CACHED.fullmatch(folder.parent.parent.name)
    return "/".join(cached.groups()) if cached and folder.parent.name == "snapshots" else folder.name


def hub_commit(folder: Path) -> str | None:
    """The commit that a folder is of, where it is in the Hub's cache or a link to it."""
    folder = folder.resolve()
    return folder.name if pinned_name(folder) else None


def pinned_name(folder: Path) -> str | None:
    """`owner/name@commit` of a folder in the Hub's cache; None elsewhere."""
    return f"{model_name(folder)}@{folder.name}" if model_name(folder) != folder.name else None


def recorded_name(text: str, folder: Path) -> str:
    """What a record says of a folder that was given as `text`, so that it is found from any working folder: an absolute
    path, `owner/name@commit`, or a name under base_model/ as it is."""
    return os.path.abspath(text) if Path(text).is_dir() else pinned_name(folder) or text


def cached_snapshot(text: str) -> Path | None:
    """The folder of a Hub name in the cache, without asking the Hub; None where it is not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    parts = NAME.fullmatch(text)
    assert parts
    try:
        return Path(snapshot_download(parts["repo"], revision=parts["revision"], local_files_only=True,
                                      allow_patterns=list(SETTINGS), ignore_patterns="*/*"))
    except LocalEntryNotFoundError:
        return None


def fetch(
    name: str, settings: tuple[str, ...], weights: tuple[str, ...], check: Callable[[Path, set[str]], None]
) -> Path:
    """The folder of `owner/name[@revision]` in the Hub's cache, with what was missing downloaded.

    settings: patterns of the files that are fetched first. check: of the folder with these alone, and of the names of
    all files. weights: patterns of files; those of the first one that any file matches are fetched. InputError, in
    one line with the cure, where the Hub or the disk refuses.
    """
    from huggingface_hub import constants, get_cached_repo_tree, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError
    from huggingface_hub.utils import logging, tqdm

    class Hidden(tqdm):  # a few kilobytes
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options | {"disable": True})

    parts = NAME.fullmatch(name)
    assert parts
    if not re.match(r"https?://", constants.ENDPOINT):
        raise InputError(f"HF_ENDPOINT is {constants.ENDPOINT!r}, without https:// or http:// before it; add that")
    logging.set_verbosity(logging.CRITICAL)  # its warnings come before the one line of an error
    _bound_requests()
    snapshot = cached_snapshot(name) if parts["revision"] else None
    if not constants.is_offline_mode() and not (snapshot and snapshot.name == parts["revision"]):
        print(f"asking {constants.ENDPOINT} for {name}", flush=True)
    with _errors_in_one_line(name, parts["repo"], parts["revision"]):
        folder = Path(snapshot_download(parts["repo"], revision=parts["revision"], allow_patterns=list(settings),
                                        ignore_patterns="*/*", tqdm_class=Hidden))
        commit = folder.name
        try:
            sizes = {file.path: file.size for file in get_cached_repo_tree(parts["repo"], revision=commit)
                     if "/" not in file.path}
        except CachedRepoTreeNotFoundError:  # fetched by an older version, and the Hub cannot be asked
            sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
        with named_as(name, folder):
            check(folder, set(sizes))
        matches = ([file for file in sizes if fnmatchcase(file, pattern)] for pattern in weights)
        missing = [file for file in next(filter(None, matches), []) if not (folder / file).exists()]
        if missing:
            if not constants.is_offline_mode():
                _check_space(name, folder, sum(sizes[file] for file in missing))
            snapshot_download(parts["repo"], revision=commit, allow_patterns=missing)
    return folder


@contextlib.contextmanager
def named_as(name: str, folder: Path) -> Iterator[None]:
    """InputErrors about a folder in the Hub's cache with `owner/name[@revision]` in its place, and a cure for that."""
    try:
        yield
    except InputError as error:
        repository = folder.parents[1]
        if not CACHED.fullmatch(repository.name):
            raise
        text = str(error).replace(f"{folder}/", f"{name}/").replace(f"{folder}:", f"{name}:")
        raise InputError(text.replace("fetch the model again", "take another model or revision, or remove "
                                      f"{repository} and give the same command again")) from None


@functools.cache
def _bound_requests() -> None:
    """Let no request to the Hub wait for an answer longer than HF_HUB_ETAG_TIMEOUT (10 s); most have no limit."""
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def limit(request) -> None:
        waits = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {kind: waits.get(kind) or constants.HF_HUB_ETAG_TIMEOUT
                                         for kind in ("connect", "read", "write", "pool")}

    def client():
        session = default_client_factory()
        session.event_hooks = {**session.event_hooks, "request": [*session.event_hooks["request"], limit]}
        return session

    set_client_factory(client)


def check_no_address(text: str) -> None:
    """InputError where a text is the address of a model on the Hub instead of its name."""
    address = re.match(r"(?:https?:/+[^/]+|(www\.)?(huggingface|hf)\.co)/(?P<name>[\w.-]+/[\w.-]+)/?($|tree/|blob/)",
                       text)
    if address:
        raise InputError(f"{text}: an address; give the name alone, {address['name']}")


def _check_space(name: str, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(f"{name}: {needed / 1e9:.1f} GB to download, and {free / 1e9:.1f} GB are free in "
                         f"{folder.parents[2]}; make room, or set HF_HOME to a folder on a larger disk")
    print(f"downloading {name} ({needed / 1e9:.2f} GB) into {folder}", flush=True)


@contextlib.contextmanager
def _errors_in_one_line(name: str, repo: str, revision: str | None) -> Iterator[None]:
    from huggingface_hub import constants, errors

    nothing = f"{name}: no such folder here, and"
    try:
        yield
    except InputError:
        raise
    except errors.GatedRepoError:
        raise InputError(f"{name}: a gated model; accept its terms at {constants.ENDPOINT}/{repo}, then `hf auth "
                         "login`, or set HF_TOKEN") from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{name}: {repo} has no revision {revision!r} on the Hub; give a branch, a tag or a commit, "
                         "or leave it out") from None
    except errors.RepositoryNotFoundError:
        raise InputError(f"{nothing} {constants.ENDPOINT} has no model of that name, or a private one; correct the "
                         "name, or `hf auth login`") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError) as error:
        if constants.is_offline_mode():
            raise InputError(f"{nothing} it is not, or not all of it, in the Hub's cache ({constants.HF_HUB_CACHE}), "
                             "and HF_HUB_OFFLINE is set; unset it to download") from None
        reason = first_line(error.__cause__ or error)[:200]
        raise InputError(f"{nothing} {constants.ENDPOINT} cannot be reached ({reason}); connect, or bring the folder "
                         "from another machine (`hf download`)") from None
    except Exception as error:  # of the HTTP client, of the disk, of the library
        raise InputError(f"{name}: cannot be downloaded into {constants.HF_HUB_CACHE} ({first_line(error)[:200]}); "
                         "give the same command again, or set HF_HOME to a folder that has room") from None

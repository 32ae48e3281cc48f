"""Samples: read and validate instruction JSON, draw the few-shot subset, and read the id view beside the file."""

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass as validated_dataclass

from tlrec.data import preference_text
from tlrec.errors import InputError, first_line
from tlrec.files import parse_json, read_bytes, read_json, validate

if TYPE_CHECKING:
    import pandas as pd

NEEDED_DATA = "docs/data.md says how to make or download each data file"


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
        return int(self.output == "Yes.")


@dataclass(frozen=True)
class SampleFile:
    """The samples of a file, and the hash of the very bytes they were read from."""

    rows: list[Sample]
    sha256: str


@dataclass(frozen=True)
class IdView:
    """The CSV view of a split, one row a sample, all columns text, and the hash of the very bytes it was read from."""

    table: "pd.DataFrame"
    sha256: str


def read_sample_file(path: str | Path, answers_only: bool) -> SampleFile:
    """Read instruction JSON once: a list of records with `instruction`, `input` and `output`.

    answers_only: every output must be `Yes.` or `No.` (validation, test and rec-tuning data); otherwise any non-empty
    output is valid, and the input may be empty. Raises InputError naming the file and the record, counted from 0.
    """
    content = read_bytes(Path(path), NEEDED_DATA)
    records = _json_list(parse_json(content, Path(path)), path)
    rows = [parse_sample(path, number, record, answers_only) for number, record in enumerate(records)]
    return SampleFile(rows, hashlib.sha256(content).hexdigest())


def read_samples(path: str | Path, answers_only: bool) -> list[Sample]:
    """The samples of read_sample_file(), for a reader who needs no hash."""
    return read_sample_file(path, answers_only).rows


def read_json_records(path: str | Path) -> list[object]:
    """The records of a JSON list, unchecked. InputError where the file is not a JSON list, or an empty one."""
    return _json_list(read_json(Path(path), NEEDED_DATA), path)


def _json_list(records: object, path: str | Path) -> list[object]:
    if not isinstance(records, list) or not records:
        raise InputError(f"{path}: not a list of records, or an empty one; make or download it again")
    return records


def parse_sample(path: str | Path, number: int, record: object, answers_only: bool) -> Sample:
    """Validate one record; see read_samples()."""
    where = f"{path}: record {number}"
    sample = validate(Sample, record, where, "every record needs the strings instruction, input and output")
    if answers_only and sample.output not in ("Yes.", "No."):
        raise InputError(f"{where}: output {sample.output[:40]!r} is neither 'Yes.' nor 'No.'")
    if not sample.output.strip():
        raise InputError(f"{where}: output is empty")
    return sample


def shuffled_rows(count: int, seed: int, take: int | None = None) -> list[int]:
    """Row numbers in the order of `datasets`' shuffle(seed).select(range(take)): the published few-shot subset.

    InputError for an invalid seed.
    """
    check_seed(seed)
    from datasets import Dataset

    shuffled = Dataset.from_dict({"row": range(count)}).shuffle(seed=seed)
    return list(shuffled.select(range(take))["row"]) if take is not None else list(shuffled["row"])


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

    answers = [row.output if row.output in ("Yes.", "No.") else "" for row in rows]
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


def title_counts(
    samples: list[Sample], path: str | Path = "", row_numbers: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Number of liked and of disliked titles in each prompt, integers of shape (n, 2).

    row_numbers: shape (n,), of the samples in their file (default: 0, 1, 2 ...). InputError names the first one whose
    input has no preference lists (CoT and alpaca data).
    """
    counts = np.empty((len(samples), 2), dtype=np.int64)
    for number, sample in enumerate(samples):
        history = preference_text.parse(sample.input)
        if history is None:
            row = number if row_numbers is None else row_numbers[number]
            raise InputError(f"{path}: record {row} has no preference lists, so it has no liked-ratio")
        counts[number] = len(history.liked), len(history.disliked)
    return counts


def liked_ratio(counts: np.ndarray) -> np.ndarray:
    """The training-free control: liked / all titles of the prompt, shape (n,); 0.5 without titles.

    counts: shape (n, 2), as title_counts() gives them.
    """
    titles = counts.sum(axis=1)
    return np.where(titles > 0, counts[:, 0] / np.maximum(titles, 1), 0.5)


def id_view(path: str | Path, samples: list[Sample]) -> IdView | None:
    """Read the CSV view beside the JSON file once; None where there is no such file.

    InputError where a user id is blank, or where the two views disagree in length, in a label, or in how many titles
    the user liked.
    """
    view = Path(path).with_suffix(".csv")
    if not view.exists():
        return None
    content = read_bytes(view, NEEDED_DATA)
    import pandas as pd

    try:
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{view}: not readable as CSV ({first_line(error)}); make the data again") from None
    if "user_id" not in table or "rating" not in table:
        raise InputError(f"{view}: no user_id and rating columns; make the data again")
    if len(table) != len(samples):
        raise InputError(f"{view}: {len(table)} rows beside {len(samples)} samples; make the data again")
    labels = np.array([sample.label for sample in samples])
    mismatches = np.flatnonzero(table["rating"].to_numpy() != labels.astype(str))
    if len(mismatches):
        raise InputError(f"{view}: row {mismatches[0]} has another rating than {Path(path).name}; make the data again")
    if "history_rating" in table:
        _check_histories(view, table["history_rating"].tolist(), samples)
    blank = np.flatnonzero(table["user_id"].str.strip() == "")
    if len(blank):
        raise InputError(f"{view}: row {blank[0]} has a blank user_id; make the data again")
    return IdView(table, hashlib.sha256(content).hexdigest())


def _check_histories(view: Path, ratings: list[str], samples: list[Sample]) -> None:
    """InputError where the id view lists more liked or disliked items than the text (which may split a title)."""
    for row, (likes, sample) in enumerate(zip(ratings, samples, strict=True)):
        history = preference_text.parse(sample.input)
        if history and (likes.count("1") > len(history.liked) or likes.count("0") > len(history.disliked)):
            raise InputError(f"{view}: row {row} has another history than record {row} of "
                             f"{view.with_suffix('.json').name}; make the data again")



"""How many rows the quickstart tunes on: what fits into its fifteen minutes, by one measured step."""

import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import BaseModel, Field

from tlrec import files, paths
from tlrec.errors import InputError
from tlrec.experiments.launch import note, outputs_of

TEST_ROWS, SHOTS, FEW_SHOT_BATCH = 250, 64, 16
SCORINGS = 4  # of TEST_ROWS each: untuned, and after each of three stages
COT_ROWS = 45  # what chain-of-thought tuning takes, in rows of the other stages: its few samples are long
START_SECONDS = 60  # of the nine commands, until they tune or score
LIMIT_SECONDS, MARGIN = 15 * 60, 0.9  # of what is left, an estimate may take so much


@dataclass(frozen=True)
class Size:
    """Rows of the source domain, in batches of `batch`, and optimiser steps on the shots of the target."""

    source_rows: int
    few_shot_steps: int
    batch: int = 8

    @property
    def warmup_steps(self) -> int:
        return max(5, self.source_rows // self.batch // 10)


SIZES = (Size(128, 10), Size(192, 16), Size(320, 20), Size(512, 20), Size(8000, 40, 32))  # the last one takes a GPU


class Speed(BaseModel, strict=True, extra="forbid", frozen=True):
    """What was measured."""

    seconds_per_tuned_row: float = Field(gt=0, lt=1e6)
    seconds_per_scored_row: float = Field(gt=0, lt=1e6)
    device: str
    dtype: str

    def __str__(self) -> str:
        return (f"{self.seconds_per_tuned_row:.2f} s a tuned row, {self.seconds_per_scored_row:.2f} s a scored row "
                f"({self.device}, {self.dtype})")


class SizeRecord(BaseModel, strict=True, extra="forbid"):
    """results/quickstart_size.json: the size of the last run, which the next one takes."""

    source_rows: int
    measured: Speed | None  # None: the size was given
    estimated_seconds: dict[int, int] = {}  # of what follows the measurement, by source rows
    seconds_left: int | None = None  # of the fifteen minutes, when it was measured


def estimate(size: Size, speed: Speed) -> float:
    """Seconds from here to the last table."""
    tuned = COT_ROWS + size.source_rows + FEW_SHOT_BATCH * size.few_shot_steps
    return (START_SECONDS + tuned * speed.seconds_per_tuned_row
            + SCORINGS * TEST_ROWS * speed.seconds_per_scored_row)


def fits(size: Size, speed: Speed, seconds_left: float) -> bool:
    return estimate(size, speed) <= MARGIN * seconds_left


def choose(speed: Speed, seconds_left: float) -> Size:
    """The largest size whose estimate fits; the smallest one where none does."""
    return next((size for size in reversed(SIZES) if fits(size, speed, seconds_left)), SIZES[0])


def find_size(source_rows: object) -> Size:
    """InputError for a number of rows that no size has."""
    sizes = {str(size.source_rows): size for size in SIZES}
    if str(source_rows) not in sizes:
        raise InputError(f"--source_rows {source_rows!r} is unknown; choose from: {' '.join(sizes)}")
    return sizes[str(source_rows)]


def record_path() -> Path:
    return paths.results_dir() / "quickstart_size.json"


def read_record() -> Size | None:
    """The recorded size; None where there is none. InputError for a record that is not as it was written."""
    if not record_path().exists():
        return None
    cure = "remove it, and the size is measured again"
    record = files.validate(SizeRecord, files.read_bytes(record_path(), cure), record_path(), cure)
    try:
        return find_size(record.source_rows)
    except InputError as error:
        raise InputError(f"{record_path()}: {error}; or {cure}") from None


def seconds_left() -> float:
    """Of the fifteen minutes. They begin with the wrapper, whose process this is: its set-up counts."""
    return LIMIT_SECONDS - (time.time() - psutil.Process().create_time())


def record_size(given: Size | None, base_model: str, train: Path, test: Path) -> Size:
    """Record the size that is given, else one that is measured now."""
    if given:
        record = SizeRecord(source_rows=given.source_rows, measured=None)
    else:
        note("measuring one tuning step and one scoring batch, which choose the size (15 seconds) ...")
        ((code, output, errors),) = outputs_of(
            [["-m", "tlrec.experiments.measure_speed", base_model, str(train), str(test)]])
        if code:
            raise InputError(errors.strip().rpartition("error: ")[2])
        speed, left = Speed.model_validate_json(output.splitlines()[-1]), round(seconds_left())
        record = SizeRecord(source_rows=choose(speed, left).source_rows, measured=speed, seconds_left=left,
                            estimated_seconds={size.source_rows: round(estimate(size, speed)) for size in SIZES})
        note(f"measured: {speed}")
        note("minutes by source rows: " + ", ".join(
            f"{rows:,}: {seconds / 60:.1f}" for rows, seconds in record.estimated_seconds.items())
            + f"; {left / 60:.1f} are left, " + (
                "and the largest that fits with a tenth to spare is taken" if fits(SIZES[0], speed, left) else
                "in which none fits on this busy or slow machine: the smallest is taken"))
    note(f"size: {record.source_rows} source rows, recorded in {record_path()} for later runs")
    paths.writable_directory(record_path().parent)
    files.write_atomically(record_path(), record.model_dump_json(indent=1) + "\n")
    return find_size(record.source_rows)

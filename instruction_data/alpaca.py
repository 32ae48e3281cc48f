"""Alpaca's general instructions -> instruction_data/alpaca/train.json, the source without a recommendation domain.

    python -m instruction_data.alpaca [--raw_file alpaca_data.json]

Raw file: a JSON list of records with instruction, input and output; without one, yahma/alpaca-cleaned is downloaded
through the library `datasets`. Records are kept as they are, except those without an output, which are dropped.
"""

import tempfile
from pathlib import Path

from rec_data import published
from tlrec import cli
from tlrec.data import dataset_record
from tlrec.data.samples import parse_sample, read_json_records
from tlrec.errors import InputError
from tlrec.files import sha256
from tlrec.signature_flags import PathText

FOLDER = "instruction_data/alpaca"
HUB_NAME = "yahma/alpaca-cleaned"
RULES = ["instruction, input and output as they are", "records without an output are left out"]


def download(path: Path) -> None:
    """Save the hub's data set as JSON. InputError where it cannot be downloaded."""
    import datasets

    try:
        datasets.load_dataset(HUB_NAME, split="train").to_json(path, lines=False)
    except Exception as error:  # errors of the library, of its HTTP client and of the operating system
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{HUB_NAME}: cannot be downloaded ({reason}); connect, or give --raw_file") from None


def build(path: Path) -> tuple[list[dict[str, str]], int]:
    """The records with an output, and the number of those without. InputError names an invalid record."""
    samples, empty = [], 0
    for number, record in enumerate(read_json_records(path)):
        if isinstance(record, dict) and isinstance(record.get("output"), str) and not record["output"].strip():
            empty += 1
            continue
        sample = parse_sample(path, number, record)
        samples.append({"instruction": sample.instruction, "input": sample.input, "output": sample.output})
    return samples, empty


def main(raw_file: PathText | None = None) -> None:
    """Build the Alpaca instruction data.

    Args:
        raw_file: a local JSON list of records; without it the data is downloaded
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(raw_file) if raw_file else Path(folder) / "alpaca-cleaned.json"
        if not raw_file:
            download(path)
        samples, empty = build(path)
        source = {raw_file and path.name or HUB_NAME: {"sha256": sha256(path), "bytes": path.stat().st_size}}
    dropped = {"records without an output": empty}
    splits = {"train": dataset_record.Split(len(samples), ((sample, None) for sample in samples))}
    dataset_record.write_dataset(FOLDER, splits, "instruction_data.alpaca", source, RULES, dropped, published.CATALOGUE)


if __name__ == "__main__":
    cli.run(main)

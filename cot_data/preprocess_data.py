"""Hits of the three-step answers -> cot_data/stage123.json, the data of the chain-of-thought tuning stage.

    python -m cot_data.preprocess_data [--source netflix] [--stages 1,2,3] [--tokenizer base_model/smollm2-135m]

A sample: the instruction, the third prompt without its last line, the third answer. One file serves both target
domains, as published. Which teacher made it, from what, stands in stage123_about.json beside it.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from cot_data import prompts
from cot_data.generate_data import RESULT
from cot_data.run import STEPS
from rec_data.dataset_report import length_counter
from tlrec import cli, paths
from tlrec.data.samples import Sample, parse_sample, read_json_records
from tlrec.errors import InputError
from tlrec.files import read_json, sha256, write_atomically
from tlrec.model.prompts import format_prompt

PUBLISHED_CUTOFF = 512
_FIELDS = {"teacher": str, "noun": str, "target": str, "candidates": list} | {
    f"{part}_{step}": str for part in ("prompt", "answer") for step in range(1, STEPS + 1)
}


def read_answers(path: Path) -> list[dict]:
    """The records of a three_stages.json; InputError names the one of another form."""
    records = read_json_records(path)
    for number, record in enumerate(records):
        for field, kind in _FIELDS.items():
            if not isinstance(record, dict) or not isinstance(record.get(field), kind):
                raise InputError(f"{path}: record {number} has no {field!r} as generate_data writes it; make it again")
        if record["noun"] not in prompts.NOUNS or not all(isinstance(title, str) for title in record["candidates"]):
            raise InputError(f"{path}: record {number} has another noun or other candidates than generate_data writes; "
                             "make it again")
    return records


def samples_of(path: Path, hits: dict[int, dict], stages: list[int]) -> list[Sample]:
    """Tuning samples of the hits, by their numbers in the file: of each user, the given steps in their order."""
    made = []
    for number, record in hits.items():
        for step in stages:
            sample = {
                "instruction": prompts.instruction(record["noun"], step),
                "input": record[f"prompt_{step}"].removesuffix("\nAnswer:"),
                "output": record[f"answer_{step}"].strip(),
            }
            made.append(parse_sample(path, number, sample, answers_only=False))
    return made


def over(samples: list[Sample], tokenizer: str, cutoff: int = PUBLISHED_CUTOFF) -> dict[str, int]:
    """Token lengths with template, answer and end of text."""
    count = length_counter(tokenizer)
    lengths = np.array([count(format_prompt(sample) + sample.output) + 1 for sample in samples])
    passing = int((lengths > cutoff).sum())
    return {"median": int(np.median(lengths)), "most": int(lengths.max()), f"over {cutoff}": passing}


def _teacher(path: Path) -> str:
    said = read_json(path, "")
    if not isinstance(said, dict) or not isinstance(said.get("teacher"), str):
        raise InputError(f"{path}: names no teacher; remove it, and the data beside it")
    return said["teacher"]


def main(
    source: str = "netflix",
    stages: list[str] = ["3"],  # noqa: B006
    tokenizer: str | None = None,
    input_path: str | None = None,
    output_path: str | None = None,
) -> None:
    """Keep the hits and write them as tuning samples.

    Args:
        source: whose answers, cot_data/SOURCE/three_stages.json
        stages: steps that become samples; 3 (published), or 1,2,3
        tokenizer: a base model's folder, to count the samples over 512 tokens
        input_path: a three_stages.json elsewhere
        output_path: default cot_data/stage123.json
    """
    if not stages or set(stages) - {"1", "2", "3"}:
        raise InputError(f"--stages {','.join(stages)}: give one or more of 1, 2, 3")
    path = Path(input_path) if input_path else paths.home_dir() / "cot_data" / source / RESULT
    output = Path(output_path) if output_path else paths.home_dir() / "cot_data" / "stage123.json"
    if input_path is None and not path.exists():
        raise InputError(f"{path}: no such file; make it with `python -m cot_data.generate_data --source {source}`")
    records = read_answers(path)
    hits = {number: record for number, record in enumerate(records)
            if record["target"] in prompts.recommended(record["answer_3"], record["candidates"])}
    published = sum(record["target"] in record["answer_3"] for record in records)
    print(f"{path}: {len(records):,} samples; hits by whole titles {len(hits):,} (kept), by the published rule "
          f"(anywhere in the text) {published:,}")
    if not hits:
        raise InputError(f"{path}: no sample is a hit, so there is nothing to tune on")
    made = samples_of(path, hits, sorted({int(stage) for stage in stages}))
    lengths = over(made, tokenizer) if tokenizer else None
    teachers = sorted({record["teacher"] for record in records})
    before = output.with_name(f"{output.stem}_about.json")
    paths.writable_directory(output.parent)
    if output.exists() and before.exists() and teachers == [prompts.RULES]:
        prompts.check_replaceable(output, set(_teacher(before).split(", ")), "--output_path")
    text = json.dumps([vars(sample) for sample in made], indent=4)
    about = {
        "teacher": ", ".join(teachers),
        "source": ", ".join(sorted({str(record.get("source", "?")) for record in records})),
        "three_stages_sha256": sha256(path),
        "stages": sorted(set(stages)), "samples": len(made), "answered": len(records), "hits": len(hits),
        "hits_by_published_rule": published, "sha256": hashlib.sha256(text.encode()).hexdigest(), "tokens": lengths,
    }
    write_atomically(output, text)
    write_atomically(before, json.dumps(about, indent=1) + "\n")
    print(f"{output}: {len(made):,} samples made by {about['teacher']}")
    if lengths:
        passing = lengths[f"over {PUBLISHED_CUTOFF}"]
        print(f"tokens: median {lengths['median']:,}, most {lengths['most']:,}; {passing:,} samples pass "
              f"{PUBLISHED_CUTOFF}; none is cut here, tuning with a higher --cutoff_len keeps them whole")


if __name__ == "__main__":
    cli.run(main)

"""Hits of the three-step answers -> cot_data/stage123.json, the data of the chain-of-thought tuning stage.

    python -m cot_data.preprocess_data [--source netflix] [--stages 1,2,3] [--tokenizer base_model/smollm2-135m]

A sample: the instruction, the third prompt without its last line, the third answer. One file serves both target
domains, as published. stage123_about.json beside it records the teacher and the source.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from cot_data import prompts
from cot_data.generate_data import RESULT
from cot_data.schemas import CotAnswers, CotDataset
from rec_data.dataset_report import length_counter, token_lengths
from tlrec import cli, paths
from tlrec.data.samples import Sample, parse_sample, read_json_records
from tlrec.errors import InputError
from tlrec.files import read_json, sha256, validate, write_atomically
from tlrec.signature_flags import PathText

PUBLISHED_CUTOFF = 512  # tokens


def read_answers(path: Path) -> list[CotAnswers]:
    """The records of a three_stages.json; InputError names the invalid one."""
    return [validate(CotAnswers, record, f"{path}: record {number}", "make it again with cot_data.generate_data")
            for number, record in enumerate(read_json_records(path))]


def samples_of(path: Path, hits: dict[int, CotAnswers], stages: list[int]) -> list[Sample]:
    """Tuning samples of the hits, by record number: for each user, the given steps in their order."""
    return [
        parse_sample(path, number, {
            "instruction": prompts.instruction(record.noun, step),
            "input": record.prompts[step - 1].removesuffix("\nAnswer:"),
            "output": record.answers[step - 1].strip(),
        })
        for number, record in hits.items() for step in stages
    ]


def token_statistics(samples: list[Sample], tokenizer: str, cutoff: int = PUBLISHED_CUTOFF) -> dict[str, int]:
    """Lengths in tokens, as rec_data.dataset_report counts them."""
    lengths = token_lengths(samples, length_counter(tokenizer))
    return {"median": int(np.median(lengths)), "most": int(lengths.max()),
            f"over {cutoff}": int((lengths > cutoff).sum())}


def main(
    source: str = "netflix",
    stages: list[str] = ["3"],  # noqa: B006
    tokenizer: PathText | None = None,
    input_path: PathText | None = None,
    output_path: PathText | None = None,
) -> None:
    """Keep the hits and write them as tuning samples.

    Args:
        source: whose answers, cot_data/SOURCE/three_stages.json
        stages: steps that become samples: 3 (published), or 1,2,3
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
    hits = {number: record for number, record in enumerate(records) if record.hit}
    published = sum(record.hit_in_text for record in records)
    print(f"{path}: {len(records):,} samples; hits by exact title {len(hits):,} (kept), by the published rule "
          f"(anywhere in the text) {published:,}")
    if not hits:
        raise InputError(f"{path}: no sample is a hit, so there is nothing to tune on")
    samples = samples_of(path, hits, sorted({int(stage) for stage in stages}))
    tokens = token_statistics(samples, tokenizer) if tokenizer else None
    teachers = sorted({record.teacher for record in records})
    about = output.with_name(f"{output.stem}_about.json")
    if output.exists() and about.exists() and teachers == [prompts.RULES]:
        old = validate(CotDataset, read_json(about, ""), about, f"remove it, and {output.name} beside it")
        prompts.check_replaceable(output, set(old.teacher.split(", ")), "--output_path")
    parameters = [dict(pairs) for pairs in dict.fromkeys(tuple((record.parameters or {}).items()) for record in records)
                  if pairs]
    text = json.dumps([vars(sample) for sample in samples], indent=4)
    dataset = CotDataset(
        teacher=", ".join(teachers), parameters=parameters,
        source=", ".join(sorted({record.source for record in records})),
        three_stages_sha256=sha256(path), stages=sorted(set(stages)), samples=len(samples), answered=len(records),
        hits=len(hits), hits_by_published_rule=published, sha256=hashlib.sha256(text.encode()).hexdigest(),
        tokens=tokens,
    )
    paths.writable_directory(output.parent)
    write_atomically(output, text)
    write_atomically(about, json.dumps(dataset.model_dump(), indent=1) + "\n")
    print(f"{output}: {len(samples):,} samples made by {dataset.teacher}")
    if tokens:
        over = tokens[f"over {PUBLISHED_CUTOFF}"]
        print(f"tokens: median {tokens['median']:,}, maximum {tokens['most']:,}; {over:,} samples exceed "
              f"{PUBLISHED_CUTOFF}; none is truncated here, and tuning with a higher --cutoff_len keeps them complete")


if __name__ == "__main__":
    cli.run(main)

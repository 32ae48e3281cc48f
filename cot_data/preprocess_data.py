"""Hits of the three-step answers -> cot_data/stage123.json, the data of the chain-of-thought tuning stage.

    python -m cot_data.preprocess_data [--source netflix] [--stages 1,2,3] [--tokenizer base_model/smollm2-135m]

Reads the three_stages.json of cot_data.generate_data, or one as the authors' script writes it.

A sample: the instruction, the third prompt without its last line, the third answer. One file serves both target
domains, as published. stage123_about.json beside it records the teacher and the source.
"""

import hashlib
import json
import re
from pathlib import Path

import numpy as np

from cot_data import prompts
from cot_data.generate_data import RESULT
from cot_data.hits import hits
from cot_data.prompts import CotExample
from cot_data.schemas import CotAnswers, CotDataset, PublishedAnswers
from rec_data.dataset_report import length_counter, token_lengths
from tlrec import cli, paths
from tlrec.data.samples import Sample, parse_sample, read_json_records
from tlrec.errors import InputError
from tlrec.files import read_json, sha256, validate, write_atomically
from tlrec.signature_flags import PathText

PUBLISHED_CUTOFF = 512  # tokens
RULES = ("exact", "published")  # for hits
AUTHORS = "unknown (answers in the format of TLRec's authors)"  # the teacher of such a file
AUTHORS_CURE = "correct that record of the authors' file, or take it out; no other needs to be asked again"


def read_answers(path: Path) -> dict[int, CotAnswers]:
    """The records of a three_stages.json by number, ours or in the authors' format; InputError names the invalid one.

    Of the authors', one without all three answers is left out, and the number of these is printed.
    """
    answers, unanswered = {}, 0
    for number, record in enumerate(read_json_records(path)):
        where = f"{path}: record {number}"
        if not isinstance(record, dict) or not record.keys() & PublishedAnswers.model_fields.keys():
            answers[number] = validate(CotAnswers, record, where, "make it again with cot_data.generate_data")
            continue
        published = validate(PublishedAnswers, record, where, AUTHORS_CURE)
        unanswered += not published.answers
        if published.answers:
            answers[number] = from_authors(published, where, path.parent.name)
    if unanswered:
        print(f"{path}: {unanswered:,} of {len(answers) + unanswered:,} records left out, without all three answers")
    return answers


def from_authors(record: PublishedAnswers, where: str, source: str) -> CotAnswers:
    """A record of the authors' as one of ours: candidates and history come from the first prompt's first two lines."""
    candidates, watched = [re.findall('"(.*?)"', line) for line in [*record.Input_1.splitlines(), "", ""][:2]]
    if not candidates or not watched:
        raise InputError(f"{where}: Input_1 does not begin with a line of candidates and one of watched titles, in "
                         f"quotation marks; {AUTHORS_CURE}")
    noun = "book" if "candidate book" in record.Input_1.splitlines()[0] else "movie"
    example = CotExample(record.PID, record.PID, noun, record.GT, candidates, watched)
    return CotAnswers.model_validate({
        **example._asdict(), "teacher": AUTHORS, "source": source, "parameters": None,
        "prompts": [record.Input_1, record.Input_2, record.Input_3],
        "answers": record.answers, "hit": hits(record.answers[-1], example)[0], "hit_in_text": record.Hit == 1})


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


def token_statistics(samples: list[Sample], tokenizer: str) -> dict[str, int]:
    """Lengths in tokens, as rec_data.dataset_report counts them."""
    lengths = token_lengths(samples, length_counter(tokenizer))
    return {"median": int(np.median(lengths)), "most": int(lengths.max()),
            f"over {PUBLISHED_CUTOFF}": int((lengths > PUBLISHED_CUTOFF).sum())}


def main(
    source: str = "netflix",
    stages: list[str] = ["3"],  # noqa: B006
    keep: str = "exact",
    tokenizer: PathText | None = None,
    input_path: PathText | None = None,
    output_path: PathText | None = None,
) -> None:
    """Keep the hits and write them as tuning samples.

    Args:
        source: whose answers, cot_data/SOURCE/three_stages.json
        stages: steps that become samples: 3 (published), or 1,2,3
        keep: hits that become samples: exact (a complete title ends a line), or published (the title anywhere)
        tokenizer: a base model's folder, to count the samples over 512 tokens
        input_path: a three_stages.json elsewhere
        output_path: default cot_data/stage123.json
    """
    if not stages or set(stages) - {"1", "2", "3"}:
        raise InputError(f"--stages {','.join(stages)}: give one or more of 1, 2, 3")
    if keep not in RULES:
        raise InputError(f"--keep {keep!r} is unknown; choose from {', '.join(RULES)}")
    path = Path(input_path) if input_path else paths.home_dir() / "cot_data" / source / RESULT
    output = Path(output_path) if output_path else paths.home_dir() / "cot_data" / "stage123.json"
    if input_path is None and not path.exists():
        raise InputError(f"{path}: no such file; make it with `python -m cot_data.generate_data --source {source}`")
    numbered = read_answers(path)
    records = list(numbered.values())
    kept = {number: record for number, record in numbered.items()
            if (record.hit if keep == "exact" else record.hit_in_text)}
    exact, published = sum(record.hit for record in records), sum(record.hit_in_text for record in records)
    marks = [" (kept)" if keep == rule else "" for rule in RULES]
    print(f"{path}: {len(records):,} samples; hits by exact title {exact:,}{marks[0]}, by the published rule (anywhere "
          f"in the text) {published:,}{marks[1]}")
    if not kept:
        raise InputError(f"{path}: no sample is a hit, so there is nothing to tune on")
    samples = samples_of(path, kept, sorted({int(stage) for stage in stages}))
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
        hits=exact, hits_by_published_rule=published, kept=keep, sha256=hashlib.sha256(text.encode()).hexdigest(),
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

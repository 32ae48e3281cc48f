"""Ask a teacher three questions about each liked sample of a source domain -> cot_data/SOURCE/three_stages.json.

    export OPENAI_API_KEY=...                                 # and OPENAI_BASE_URL for another server than OpenAI's
    python -m cot_data.generate_data --dry_run True --price_in 30 --price_out 60      # prompts, requests, cost
    python -m cot_data.generate_data --max_samples 100 --max_cost 5 --price_in 30 --price_out 60
    python -m cot_data.generate_data --teacher rules          # no key, no language model

Every answer is appended to answers-MODEL-SETTINGS.jsonl beside the result before the next step is requested. The same
command resumes an interrupted run; other settings have a file of their own.
"""

import asyncio
import json
import os
import re
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from cot_data import candidate_sets, prompts
from cot_data.cooccurrence_teacher import CooccurrenceTeacher
from cot_data.hits import hits
from cot_data.prompts import CotExample
from cot_data.schemas import STEPS, CotAnswers
from cot_data.teacher_client import TeacherClient
from cot_data.teacher_run import TeacherRun
from tlrec import cli, paths
from tlrec.api.client import RequestSettings
from tlrec.api.ledger import Ledger, Parameters
from tlrec.api.pricing import Pricing, estimated_tokens
from tlrec.api.server import connect, key_and_address, server_name
from tlrec.data import datasets
from tlrec.data.samples import read_json_records
from tlrec.errors import InputError
from tlrec.files import write_atomically
from tlrec.signature_flags import PathText, check_bounds

TEACHERS = ("api", "local", "rules")
RESULT = "three_stages.json"
# least and most of each flag; no wait overflows
REQUEST_BOUNDS = {"max_tokens": (1, 1e6), "temperature": (0, 100), "top_p": (0, 1), "concurrency": (1, 1e4),
                  "tries": (1, 100), "history": (1, 1000), "timeout": (0.001, 86_400), "pause": (0, 86_400)}


class Preset(NamedTuple):
    """Settings of TLRec's script."""

    model: str
    seed: int
    history: int  # titles in a prompt
    source_rows: int  # the first ones; -1: all


# by commit; the file that the authors published was first committed beside the earlier script
PRESETS = {"534c6c9": Preset("gpt-4", 0, prompts.HISTORY_TITLES, -1),
           "561abcf": Preset("gpt-3.5-turbo", 2023, 8, 3000)}


def source_file(source: str) -> tuple[Path, str]:
    """(train.json, name) of a source: a dataset, or a JSON file."""
    if source.endswith((".json", ".jsonl")):
        path = Path(source)
        return path, path.resolve().parent.name
    return datasets.find_folder("SOURCE", source) / "train.json", source


def estimate(examples: list[CotExample], pricing: Pricing, max_tokens: int) -> str:
    """An upper estimate of requests, tokens and cost, with every answer at its maximum length."""
    read = sum(STEPS * estimated_tokens(prompts.prompt(example, [])) for example in examples)
    read += len(examples) * 3 * max_tokens  # one answer is read again in step 2, two in step 3
    read += sum(estimated_tokens(prompts.prompt(example, ["", ""])) for example in examples[:1]) * len(examples)
    written = STEPS * len(examples) * max_tokens
    cost = f"${pricing.cost(read, written):,.2f}" if pricing.price_in or pricing.price_out else "unknown without prices"
    return (f"{len(examples):,} samples, {STEPS * len(examples):,} requests; estimated, at most: {read:,} tokens read, "
            f"{written:,} tokens written, cost {cost}")


def write(path: Path, examples: list[CotExample], answers: dict[int, list[str]], teacher: str, source: str,
          parameters: Parameters | None = None) -> None:
    """Write the answered samples in the order of the source and print both hit counts."""
    records = []
    for example in examples:
        if given := answers.get(example.sample):
            hit, hit_in_text = hits(given[-1], example)
            texts = [prompts.prompt(example, given[:step]) for step in range(STEPS)]
            records.append(CotAnswers(teacher=teacher, parameters=parameters, source=source, **example._asdict(),
                                      prompts=texts, answers=given, hit=hit, hit_in_text=hit_in_text))
    write_atomically(path, json.dumps([record.model_dump() for record in records], indent=1))
    print(f"{path}: {len(records):,} samples by {teacher}; hits by exact title "
          f"{sum(record.hit for record in records):,}, by the published rule (anywhere in the text) "
          f"{sum(record.hit_in_text for record in records):,}")


def check_flags(teacher: str, model: str | None, max_samples: int, pricing: Pricing, dry_run: bool, preset: str,
                source_rows: int | None, **others) -> None:
    """InputError for a value that no data and no server makes right."""
    if teacher not in TEACHERS:
        raise InputError(f"--teacher {teacher!r} is unknown; choose from {', '.join(TEACHERS)}")
    if preset not in PRESETS:
        raise InputError(f"--preset {preset!r} is unknown; choose from {', '.join(PRESETS)}")
    if teacher == "local" and model is None and not dry_run:
        raise InputError("--teacher local needs --model, the name that the local server knows")
    if not (model or "").isprintable():
        raise InputError(f"--model {model!r} contains characters that are not printable text")
    pricing.check()
    check_bounds(SimpleNamespace(**others), REQUEST_BOUNDS)
    for flag, number in (("max_samples", max_samples), ("source_rows", source_rows)):
        if number is not None and (number < -1 or number == 0):
            raise InputError(f"--{flag} {number}: must be above 0, or -1 for all")


def main(
    source: PathText = "netflix",
    teacher: str = "api",
    model: str | None = None,
    temperature: float = 0.2,
    max_tokens: int = 512,
    top_p: float = 1.0,
    seed: int | None = None,
    history: int | None = None,
    source_rows: int | None = None,
    preset: str = "534c6c9",
    max_samples: int = -1,
    pricing: Pricing = Pricing(),  # noqa: B008
    dry_run: bool = False,
    concurrency: int = 8,
    tries: int = 6,
    timeout: float = 120.0,
    pause: float = 1.0,
    output_dir: PathText | None = None,
) -> None:
    """Make three-step answers from the liked samples of a source domain.

    Args:
        source: netflix, amazon-book, movielens, any other dataset's name, or a JSON file
        teacher: api (any OpenAI-compatible server), local (one on this machine), or rules (no language model)
        model: name that the server knows; without it the preset's, none for a local server
        temperature: of the teacher
        max_tokens: maximum length of an answer, in tokens
        top_p: of the teacher
        seed: of the order of the candidates; without it the preset's
        history: titles of the history in a prompt; without it the preset's
        source_rows: look at the first rows of the source alone, -1 for all; without it the preset's
        preset: settings of TLRec's script at a commit: 534c6c9 (gpt-4, seed 0, history 10, all rows), or 561abcf
            (gpt-3.5-turbo, seed 2023, history 8, 3000 rows; its source was amazon-book)
        max_samples: number of samples to ask about, from the first on; -1 is all
        dry_run: print an example prompt and the maximum cost, and send nothing
        concurrency: concurrent requests
        tries: attempts per request before its sample fails; waiting for a rate limit is none
        timeout: seconds per request in all
        pause: seconds before the second attempt, doubled before each later one, unless the server asks for more
        output_dir: folder of answers and result (default: cot_data/SOURCE)
    """
    check_flags(teacher, model, max_samples, pricing, dry_run, preset, source_rows, max_tokens=max_tokens,
                temperature=temperature, top_p=top_p, concurrency=concurrency, tries=tries, timeout=timeout,
                pause=pause, history=history)
    given = {"model": model, "seed": seed, "history": history, "source_rows": source_rows}
    model, seed, history, source_rows = PRESETS[preset]._replace(
        **{flag: value for flag, value in given.items() if value is not None})
    local = teacher == "local"
    key, address = ("", None) if teacher == "rules" or dry_run else key_and_address(
        local, ", or use --teacher rules or local, which need none")
    path, name = source_file(source)
    liked = candidate_sets.liked_samples(path, None if source_rows == -1 else source_rows)
    count = None if max_samples == -1 else min(max_samples, len(liked))
    examples = list(islice(prompts.cot_examples(liked, seed, history), count))
    if not examples:
        raise InputError(f"{path}: no target is among its sample's candidates; give more samples")
    print(f"{path}: {len(liked):,} liked samples; asked about: {len(examples):,} with the target among the candidates")
    if dry_run:
        print(estimate(examples, pricing, max_tokens) if teacher != "rules" else
              f"{len(examples):,} samples, no requests")
        print(f"the third prompt of the first sample:\n\n{prompts.prompt(examples[0], ['(answer 1)', '(answer 2)'])}")
        return
    folder = Path(output_dir or paths.home_dir() / "cot_data" / name)
    name = os.fsencode(name).decode(errors="replace")  # a folder's name need not be UTF-8, a record must
    result = folder / RESULT
    if result.exists() and b'"Predictions_1"' in result.read_bytes():
        raise InputError(f"{result}: holds answers in the format of TLRec's authors, which would be replaced; "
                         "cot_data.preprocess_data reads them; give another --output_dir, or move the file away")
    if teacher == "rules":
        if result.exists():
            teachers = {str(record.get("teacher")) for record in read_json_records(result) if isinstance(record, dict)}
            prompts.check_replaceable(result, teachers, "--output_dir")
        by_rules = CooccurrenceTeacher([sample.history for sample in liked])
        paths.writable_directory(folder)
        write(result, examples, {example.sample: by_rules.answers(example) for example in examples}, prompts.RULES,
              name)
        return
    openai = connect(key, address, timeout)
    settings = RequestSettings(model, temperature, max_tokens, top_p, seed, server_name(local, address))
    slug = re.sub(r"[^\w.-]+", "-", model, flags=re.ASCII).strip("-")[-60:]
    ledger = Ledger(folder / f"answers-{slug}-{prompts.fingerprint(vars(settings), history)}.jsonl")
    run = TeacherRun(examples, TeacherClient(settings, ledger, pricing, openai, tries, pause), concurrency)
    try:
        asyncio.run(run())
    finally:
        ledger.close()
        run.collect()
        if run.answers:
            write(result, examples, run.answers, model, name, run.client.parameters)
            print("python -m cot_data.preprocess_data makes tuning samples of them")
    report_missing(run, examples[0], pricing, max_tokens)


main.check = check_flags  # type: ignore[attr-defined]


def report_missing(run: TeacherRun, first: CotExample, pricing: Pricing, max_tokens: int) -> None:
    """Print why samples are not answered, and how to go on; InputError where none is."""
    ledger, spent = run.client.ledger, f"${run.client.ledger.cost:.4f} spent"
    if run.refused:
        print(f"{len(run.refused):,} samples were refused by the teacher (content filter or refusal)")
    if run.budget_exceeded and not run.answers:
        most = pricing.cost(estimated_tokens(prompts.prompt(first, [])), max_tokens)
        raise InputError(f"--max_cost {pricing.max_cost:g} is reached before any sample is answered: {spent}, and one "
                         f"request may cost ${most:.4f}; raise it")
    if not run.answers:
        raise InputError(f"no sample was answered; see the messages above, and {ledger.path}")
    if run.budget_exceeded:
        print(f"--max_cost {pricing.max_cost:g} is reached: {spent}; raise it and start again to continue")
    if run.failed:
        print(f"{len(run.failed):,} samples failed; start again to ask about them once more")


if __name__ == "__main__":
    cli.run(main)

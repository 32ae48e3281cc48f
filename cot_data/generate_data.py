"""Ask a teacher three questions about each liked sample of a source domain -> cot_data/SOURCE/three_stages.json.

    export OPENAI_API_KEY=...                                 # and OPENAI_BASE_URL for another server than OpenAI's
    python -m cot_data.generate_data --dry_run True --price_in 30 --price_out 60      # what it would ask and cost
    python -m cot_data.generate_data --max_samples 100 --max_cost 5 --price_in 30 --price_out 60
    python -m cot_data.generate_data --teacher rules          # no key, no language model

Every answer is on the disk, in answers-MODEL-SETTINGS.jsonl beside the result, before the next step is asked. Started
again with the same flags, the run goes on where it was, however it ended; other settings have a file of their own.
"""

import asyncio
import json
import re
from itertools import islice
from pathlib import Path

from cot_data import candidates, prompts
from cot_data.client import Pricing, RequestSettings, TeacherClient, estimated_tokens, key_and_address, server_name
from cot_data.cooccurrence import CooccurrenceTeacher
from cot_data.ledger import Ledger
from cot_data.prompts import CotExample
from cot_data.run import STEPS, Run
from tlrec import cli, paths
from tlrec.data.samples import read_json_records
from tlrec.errors import InputError
from tlrec.files import write_atomically

TEACHERS = ("api", "local", "rules")
RESULT = "three_stages.json"


def source_file(source: str) -> tuple[Path, str]:
    """(train.json, name) of a source: a folder under instruction_data, or a JSON file."""
    if source.endswith(".json"):
        path = Path(source)
        return path, path.resolve().parent.name
    return paths.home_dir() / "instruction_data" / source / "train.json", source


def estimate(jobs: list[CotExample], money: Pricing, max_tokens: int) -> str:
    """What a run would ask at most, with every answer at its longest."""
    read = sum(STEPS * estimated_tokens(prompts.prompt(job, [])) for job in jobs)
    read += len(jobs) * 3 * max_tokens  # one answer is read again in step 2, two in step 3
    read += sum(estimated_tokens(prompts.prompt(job, ["", ""])) for job in jobs[:1]) * len(jobs)
    written = STEPS * len(jobs) * max_tokens
    cost = f"${money.cost(read, written):,.2f}" if money.price_in or money.price_out else "unknown without prices"
    return (f"{len(jobs):,} samples, {STEPS * len(jobs):,} requests; estimated, at most: {read:,} tokens read, "
            f"{written:,} tokens written, cost {cost}")


def estimated_cost(job: CotExample, money: Pricing, max_tokens: int) -> float:
    """Dollars that the first request about a user may cost at most."""
    return money.cost(estimated_tokens(prompts.prompt(job, [])), max_tokens)


def write(path: Path, jobs: list[CotExample], answers: dict[int, list[str]], teacher: str, source: str) -> None:
    """The answered samples in the order of the source; both ways of counting hits are printed."""
    records, counts = [], [0, 0]
    for job in jobs:
        if job.sample not in answers:
            continue
        given = answers[job.sample]
        whole, anywhere = prompts.hits(given[-1], job)
        counts = [counts[0] + whole, counts[1] + anywhere]
        record = {"teacher": teacher, "source": source, **job._asdict()}
        for step in range(1, STEPS + 1):
            record |= {f"prompt_{step}": prompts.prompt(job, given[: step - 1]), f"answer_{step}": given[step - 1]}
        records.append(record | {"hit": whole, "hit_in_text": anywhere})
    write_atomically(path, json.dumps(records, indent=1))
    print(f"{path}: {len(records):,} samples by {teacher}; hits by whole titles {counts[0]:,}, by the published rule "
          f"(anywhere in the text) {counts[1]:,}")


def main(
    source: str = "netflix",
    teacher: str = "api",
    model: str | None = None,
    temperature: float = 0.2,
    max_tokens: int = 512,
    top_p: float = 1.0,
    seed: int = 0,
    max_samples: int = -1,
    max_cost: float | None = None,
    price_in: float = 0.0,
    price_out: float = 0.0,
    dry_run: bool = False,
    concurrency: int = 8,
    tries: int = 6,
    timeout: float = 120.0,
    pause: float = 1.0,
    output_dir: str | None = None,
) -> None:
    """Make three-step answers from the liked samples of a source domain.

    Args:
        source: netflix, amazon-book, movielens (a folder under instruction_data), or a JSON file
        teacher: api (any OpenAI-compatible server), local (one on this machine), or rules (no language model)
        model: name that the server knows; default gpt-4, none for a local server
        temperature: of the teacher
        max_tokens: most tokens of an answer
        top_p: of the teacher
        seed: of the order of the candidates
        max_samples: ask about the first so many only; -1 is all
        max_cost: dollars that this file of answers may cost, earlier runs included; needs the prices
        price_in: dollars for a million tokens read
        price_out: dollars for a million tokens written
        dry_run: print what would be asked, and what it would cost at most, and ask nothing
        concurrency: requests at a time
        tries: of a request, before its sample is given up
        timeout: seconds that a request may take in all
        pause: seconds before the second try, doubled before each later one, unless the server names its own
        output_dir: folder of answers and result (default: cot_data/SOURCE)
    """
    if teacher not in TEACHERS:
        raise InputError(f"--teacher {teacher!r} is unknown; choose from {', '.join(TEACHERS)}")
    if teacher == "local" and model is None and not dry_run:
        raise InputError("--teacher local needs --model, the name that the local server knows")
    model = model or "gpt-4"
    key, address = ("", None) if teacher == "rules" or dry_run else key_and_address(local=teacher == "local")
    for flag, value in {"concurrency": concurrency, "tries": tries, "max_tokens": max_tokens}.items():
        if value < 1:
            raise InputError(f"--{flag} {value}: must be at least 1")
    for flag, value in {"temperature": temperature, "top_p": top_p, "max_cost": max_cost or 0, "price_in": price_in,
                        "price_out": price_out, "timeout": timeout, "pause": pause}.items():
        if value < 0:
            raise InputError(f"--{flag} {value}: must be at least 0")
    if timeout == 0 or max_samples < -1 or max_samples == 0:
        raise InputError("--timeout must be above 0, and --max_samples above 0 or -1")
    if max_cost is not None and not (price_in or price_out):
        raise InputError("--max_cost needs --price_in and --price_out, in dollars for a million tokens")
    path, name = source_file(source)
    liked = candidates.liked_samples(path)
    jobs = list(islice(prompts.cot_examples(liked, seed), None if max_samples == -1 else min(max_samples, len(liked))))
    if not jobs:
        raise InputError(f"{path}: no target is among its sample's candidates; give more samples")
    print(f"{path}: {len(liked):,} liked samples, asked about {len(jobs):,} with the target among the candidates")
    money = Pricing(price_in, price_out, max_cost)
    if dry_run:
        print(estimate(jobs, money, max_tokens) if teacher != "rules" else f"{len(jobs):,} samples, nothing is asked")
        print(f"the third prompt of the first sample:\n\n{prompts.prompt(jobs[0], ['(answer 1)', '(answer 2)'])}")
        return
    place = paths.writable_directory(output_dir or paths.home_dir() / "cot_data" / name)
    if teacher == "rules":
        rules = CooccurrenceTeacher([sample.history for sample in liked])
        if (place / RESULT).exists():
            before = {
                str(record.get("teacher")) for record in read_json_records(place / RESULT) if isinstance(record, dict)
            }
            prompts.check_replaceable(place / RESULT, before, "--output_dir")
        write(place / RESULT, jobs, {job.sample: rules.answers(job) for job in jobs}, prompts.RULES, name)
        return
    settings = RequestSettings(model, temperature, max_tokens, top_p, seed, server_name(teacher == "local", address))
    slug = re.sub(r"[^\w.-]+", "-", model).strip("-")[-60:]
    ledger = Ledger(place / f"answers-{slug}-{prompts.fingerprint(vars(settings))}.jsonl")
    stopped = None
    try:
        run = Run(
            jobs, TeacherClient(settings, ledger, money, key, address, tries, timeout, pause), ledger, concurrency
        )
        asyncio.run(run())
    except InputError as error:
        stopped = error
    finally:
        ledger.close()
    run.collect()
    if run.answers:
        write(place / RESULT, jobs, run.answers, model, name)
    if stopped and run.answers:
        print("the samples answered so far are there; python -m cot_data.preprocess_data makes tuning samples of them")
    if stopped:
        raise stopped
    if not run.answers and run.spent:
        raise InputError(f"--max_cost {max_cost:g} is reached before any sample is answered: ${ledger.cost:.4f} spent, "
                         f"and one request may cost ${estimated_cost(jobs[0], money, max_tokens):.4f}; raise it")
    if not run.answers:
        raise InputError(f"no sample was answered; see the messages above, and {ledger.path}")
    if run.spent:
        print(f"--max_cost {max_cost:g} is reached: ${ledger.cost:.4f} spent; raise it and start again to go on")
    if run.given_up:
        print(f"{len(run.given_up):,} samples were given up; start again to ask about them once more")


if __name__ == "__main__":
    cli.run(main)

"""A closed or served model as a system: P(Yes) from the first token of an OpenAI-compatible server's replies.

Address and key are read from the environment (OPENAI_BASE_URL, OPENAI_API_KEY); every reply is in a ledger under
results/api/ before it is used, so that a rerun asks for the missing ones only.
"""

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlrec import distributed, paths, signature_flags
from tlrec.api.client import Client, RequestSettings
from tlrec.api.concurrent_requests import Run
from tlrec.api.ledger import Ledger, Parameters
from tlrec.api.pricing import Pricing, estimated_tokens
from tlrec.api.server import connect, key_and_address, server_name
from tlrec.data import samples
from tlrec.data.samples import Sample
from tlrec.errors import InputError
from tlrec.evaluation import yes_no_logprobs
from tlrec.evaluation.config import EvaluationPlan
from tlrec.evaluation.evaluate import Scores, SplitData, System
from tlrec.evaluation.yes_no_logprobs import Reply
from tlrec.model import prompts

if TYPE_CHECKING:
    from openai import AsyncOpenAI

ENDPOINTS = ("chat", "completions")
PAUSE = 1.0  # seconds before the second attempt


@dataclass(frozen=True, kw_only=True)
class ApiConfig:
    """Flags of --method api.

    Args:
        model: with --method api, the name that the server knows
        endpoint: with --method api, chat, or completions (the prompt as text, by --prompt_template)
        top_logprobs: with --method api, log-probabilities to ask for of the first token, 2 or more; 0: none, by answer
        max_tokens: with --method api, maximum length of a reply, thinking included
        shots_in_prompt: with --method api, in-context examples from train.json beside the test file
        shots_seed: with --method api, seed of the in-context examples
        concurrency: with --method api, concurrent requests
        tries: with --method api, attempts per request; waiting for a rate limit is none
        timeout: with --method api, seconds per request in all
    """

    model: str | None = None
    endpoint: str = "chat"
    top_logprobs: int = 20
    max_tokens: int = 8
    shots_in_prompt: int = 0
    shots_seed: int = 0
    concurrency: int = 8
    tries: int = 6
    timeout: float = 120.0


def check_flags(api: ApiConfig) -> None:
    """InputError for a flag that cannot be used; not where another method is chosen."""
    if not api.model:
        raise InputError("missing --model, the name that the server knows; --method api needs it")
    if not api.model.isprintable():
        raise InputError(f"--model {api.model!r} contains characters that are not printable text")
    signature_flags.check_choices(api, {"endpoint": ENDPOINTS})
    signature_flags.check_bounds(api, {
        "top_logprobs": (0, 1000), "max_tokens": (1, 1e6), "shots_in_prompt": (0, 1000), "concurrency": (1, 1e4),
        "tries": (1, 100), "timeout": (0.001, 86_400)})
    if api.top_logprobs == 1:
        raise InputError("--top_logprobs 1: one token cannot compare Yes with No; give at least 2, or 0 for none")


def check_unused(api: ApiConfig, pricing: Pricing) -> None:
    """InputError where a flag of --method api is given with another method."""
    for config in (api, pricing):
        for flag, value in asdict(config).items():
            if value != getattr(type(config)(), flag):
                raise InputError(f"--{flag} is a flag of --method api; add that, or leave it out")


@dataclass(frozen=True, kw_only=True)
class ScoringSettings(RequestSettings):
    """What determines a reply, beside its prompt."""

    endpoint: str
    top_logprobs: int
    examples: str  # hash of what stands before every prompt

    def parameters(self) -> Parameters:
        if not self.top_logprobs:
            return {"temperature": self.temperature}
        asked: Parameters = {"logprobs": self.top_logprobs} if self.endpoint == "completions" else {
            "logprobs": True, "top_logprobs": self.top_logprobs}
        return {"temperature": self.temperature, **asked}


class Row(NamedTuple):
    sample: int  # its number in the test file
    prompt: str


class ScoringClient(Client):
    """examples: the in-context examples, a text before each prompt or the turns of a conversation before it."""

    settings: ScoringSettings

    def __init__(self, settings: ScoringSettings, examples: list[tuple[str, str]], *arguments: Any):
        self._completions = settings.endpoint == "completions"
        self._text = "".join(f"{prompt}{answer}\n\n" for prompt, answer in examples)
        self._turns = [{"role": role, "content": text} for example in examples
                       for role, text in zip(("user", "assistant"), example, strict=True)]
        super().__init__(settings, *arguments)

    def resource(self, openai: "AsyncOpenAI") -> Any:
        return openai.completions if self._completions else openai.chat.completions

    def content(self, prompt: str) -> dict[str, Any]:
        if self._completions:
            return {"prompt": self._text + prompt}
        return {"messages": [*self._turns, {"role": "user", "content": prompt}]}

    def text(self, prompt: str) -> str:
        return self._text + prompt

    def parse(self, body: bytes) -> tuple[str, dict]:
        return yes_no_logprobs.parse_reply(body)


class ScoringRun(Run):
    async def ask(self, sample: Row) -> Reply:
        return Reply.model_validate_json(await self.client.answer(sample.sample, 1, sample.prompt))


def api_system(plan: EvaluationPlan, api: ApiConfig, pricing: Pricing, command: str) -> System:
    """The system that the flags name; InputError for all that can be refused before anything is sent.

    command: the evaluation's own, for its record.
    """
    check_flags(api)
    pricing.check()
    template = plan.config.prompt_template if api.endpoint == "completions" else prompts.CHAT
    if api.endpoint == "completions" and template == prompts.CHAT:
        raise InputError("--endpoint completions sends the prompt as text; leave --prompt_template chat out, or take "
                         "--endpoint chat")
    key, address = key_and_address(local=bool(os.environ.get("OPENAI_BASE_URL", "").strip())
                                   and not os.environ.get("OPENAI_API_KEY", "").strip())
    drawn, train_sha256 = _draw_examples(plan.data.path, api)
    examples = [(_prompt(row, template), row.output) for row in drawn]
    settings = ScoringSettings(
        model=str(api.model), temperature=0, max_tokens=api.max_tokens, top_p=1, seed=0,
        server=server_name(False, address), endpoint=api.endpoint, top_logprobs=api.top_logprobs,
        examples=hashlib.sha256(json.dumps(examples).encode()).hexdigest() if examples else "")
    shots = {"shots_in_prompt": api.shots_in_prompt, "train_sha256": train_sha256, "seed": api.shots_seed}
    request = {"model": api.model, "server": settings.server, "endpoint": api.endpoint, "prompt_template": template,
               "top_logprobs": api.top_logprobs, "max_tokens": api.max_tokens, **(shots if drawn else {})}

    def score(data: SplitData) -> Scores:
        if not distributed.is_main_process():  # one process asks for all rows
            return Scores({})
        ledger = Ledger(_ledger_path(settings))
        try:
            client = ScoringClient(settings, examples, ledger, pricing, connect(key, address, api.timeout), api.tries,
                                   PAUSE)
            rows = [Row(int(number), _prompt(row, template))
                    for number, row in zip(data.row_numbers, data.rows, strict=True)]
            print(_estimate(rows, client, pricing))
            run = ScoringRun(rows, client, api.concurrency)
            asyncio.run(run())
        finally:
            ledger.close()
        return _scores(run, data, pricing)

    name = f"{api.model} (API)" + (", in context" if drawn else "")
    fields = {"base_model": name} | ({"shots": len(drawn), "seed": api.shots_seed,
                                      "train_domain": plan.data.path.resolve().parent.name} if drawn else {})
    arguments = plan.config.recorded() | asdict(api) | asdict(pricing)
    return System(name, "api", request, score, [command], arguments, fields)


def _draw_examples(test_path: Path, api: ApiConfig) -> tuple[list[Sample], str | None]:
    """The in-context examples, the first of the few-shot subset that tuning draws with the seed; and their file's hash.
    """
    if not api.shots_in_prompt:
        return [], None
    path = test_path.with_name("train.json")
    file = samples.read_sample_file(path, answers_only=True)
    if api.shots_in_prompt > len(file.rows):
        raise InputError(f"--shots_in_prompt {api.shots_in_prompt}: {path} has {len(file.rows)} rows; give at most "
                         "that many")
    chosen = samples.shuffled_rows(len(file.rows), api.shots_seed, api.shots_in_prompt)
    return [file.rows[row] for row in chosen], file.sha256


def _prompt(row: Sample, template: str) -> str:
    return prompts.chat_question(row) if template == prompts.CHAT else prompts.format_prompt(row, template)


def _ledger_path(settings: ScoringSettings) -> Path:
    slug = re.sub(r"[^\w.-]+", "-", settings.model, flags=re.ASCII).strip("-")[-60:]
    digest = hashlib.sha256(json.dumps(asdict(settings)).encode()).hexdigest()[:10]
    return paths.results_dir() / "api" / f"answers-{slug}-{digest}.jsonl"


def _estimate(rows: Sequence[Row], client: ScoringClient, pricing: Pricing) -> str:
    """An upper estimate of what is still to be asked."""
    texts = [client.text(row.prompt) for row in rows if client.known(row.sample, 1, row.prompt) is None]
    read, written = sum(map(estimated_tokens, texts)), len(texts) * client.settings.max_tokens
    cost = f"${pricing.cost(read, written):,.2f}" if pricing.price_in or pricing.price_out else "unknown without prices"
    return (f"{len(texts):,} requests, {len(rows) - len(texts):,} answered before; estimated, at most: {read:,} tokens "
            f"read, {written:,} written, cost {cost}")


def _scores(run: ScoringRun, data: SplitData, pricing: Pricing) -> Scores:
    """The scores of a complete run, and what is counted of it. InputError where rows have no reply."""
    ledger = run.client.ledger
    missing = [row.sample for row in run.samples if row.sample not in run.answers and row.sample not in run.refused]
    if missing:
        reason = f"--max_cost {pricing.max_cost:g} is reached, ${ledger.cost:.4f} spent; raise it" if (
            run.budget_exceeded) else f"row {missing[0]}: {run.failed.get(missing[0], 'not asked')}"
        raise InputError(f"{ledger.path}: {len(missing):,} of {len(run.samples):,} rows have no reply ({reason}); "
                         "start again to ask for them once more")
    scores = [yes_no_logprobs.score(run.answers[row.sample]) if row.sample in run.answers else yes_no_logprobs.REFUSED
              for row in run.samples]
    p_yes = np.array([score.p_yes for score in scores])
    counts, tied = yes_no_logprobs.count_kinds(scores), tied_pairs(data.labels, p_yes)
    print("replies: " + ", ".join(f"{count:,} {kind}" for kind, count in counts.items()))
    print(f"pairs of a liked and a disliked row with equal scores, which count a half: {tied:.1%}")
    return Scores({"p_yes": p_yes}, {"api": {
        "served_by": sorted(ledger.served_by), "parameters": run.client.parameters, "replies": counts,
        "tied_pairs": tied, "cost": ledger.cost, "ledger": str(ledger.path)}})


def tied_pairs(labels: np.ndarray, scores: np.ndarray) -> float:
    """Share of the (liked, disliked) pairs with equal scores; labels and scores of shape (n,); 0 without pairs."""
    _, codes = np.unique(scores, return_inverse=True)
    liked, disliked = (np.bincount(codes[labels == label], minlength=codes.max() + 1) for label in (1, 0))
    return float((liked * disliked).sum() / max(liked.sum() * disliked.sum(), 1))

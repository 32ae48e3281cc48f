"""The systems that evaluate.py scores: a language model with or without an adapter, and the training-free control."""

import os
from pathlib import Path
from typing import Any

from tlrec.data import samples
from tlrec.evaluation.config import EvaluationPlan
from tlrec.evaluation.evaluate import Scores, SplitData, System
from tlrec.evaluation.record_schema import chain_name
from tlrec.model.adapter import Adapter, attach_adapter
from tlrec.model.base_model import load_base_model
from tlrec.model.fingerprint import base_model_fingerprint, check_unchanged
from tlrec.model.hub import hub_commit, model_name


def planned_system(plan: EvaluationPlan, command: str) -> System:
    """The system that the plan names. command: the evaluation's own, for its record."""
    config, base, adapter = plan.config, plan.base, plan.adapter
    if base is None:
        return System("liked-ratio", "liked-ratio", {}, _liked_ratio, [command], config.recorded())
    fingerprint = base_model_fingerprint(base)
    request = {
        "base_model": fingerprint,
        "adapter_sha256": adapter.sha256 if adapter else None,
        **({"adapter_settings_sha256": adapter.config.settings_hash()} if adapter else {}),
        "load_in_8bit": config.load_in_8bit,
        **({"load_in_4bit": True} if config.load_in_4bit else {}),
        "dtype": config.dtype,
        "prompt_template": config.prompt_template,
        "scoring_batch_size": config.scoring_batch_size,
    }
    commands = [*(adapter.commands if adapter else []), command]
    base_name = model_name(base)
    name = chain_name(base_name, adapter.chain, adapter.rows_of_chain) if adapter else f"{base_name}, untuned"
    commit = {"base_model_commit": hub_commit(base)} if hub_commit(base) else {}
    return System(name, "llm", request, lambda data: _language_model_scores(plan, base, fingerprint, data), commands,
                  config.recorded(), {"base_model": base_name} | commit | _adapter_fields(adapter))


def _liked_ratio(data: SplitData) -> Scores:
    assert data.title_counts is not None  # config.resolve() reads the split with needs_titles
    return Scores({"p_yes": samples.liked_ratio(data.title_counts)})


def _language_model_scores(plan: EvaluationPlan, base: Path, fingerprint: str, data: SplitData) -> Scores:
    config, adapter = plan.config, plan.adapter
    manifest = adapter.manifest if adapter else None
    tuned_with = manifest.arguments.get("prompt_template") if manifest else config.prompt_template
    if tuned_with != config.prompt_template:
        print(f"notice: the adapter was tuned with --prompt_template {tuned_with}, it is scored with "
              f"{config.prompt_template}")
    from tlrec.model import scoring
    from tlrec.model.tokenization import Encoder

    model, tokenizer = load_base_model(base, config.load_in_8bit, config.dtype, str(plan.device), config.load_in_4bit)
    check_unchanged(base, fingerprint)
    if adapter:
        model = attach_adapter(model, None, adapter)
    encoder = Encoder(tokenizer, config.prompt_template)
    scores = scoring.score(model, encoder, data.rows, config.scoring_batch_size, "scoring",
                           lambda row: f"{data.path}: record {data.row_numbers[row]}")
    return Scores(scores._asdict())


def _adapter_fields(adapter: Adapter | None) -> dict[str, Any]:
    """What a record says of the adapter: chain, shots, seed, where its last tuning data came from, and its cost."""
    if adapter is None:
        return {}
    fields = {"shots", "seed", "cuts", "steps", "data", "arguments", "stages"}
    manifest = adapter.manifest.model_dump(include=fields) if adapter.manifest else {}
    return {
        "chain": adapter.chain,
        "rows_of_chain": adapter.rows_of_chain,
        "shots": manifest.pop("shots", None),
        "seed": manifest.pop("seed", None),
        "train_domain": adapter.chain[-1],
        "tuning_seconds": round(adapter.seconds, 1),
        "adapter": {"path": os.path.abspath(adapter.folder), **manifest},
    }

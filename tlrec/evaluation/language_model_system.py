"""The systems that evaluate.py scores: a language model with or without an adapter, and the training-free control."""

import os
from typing import Any

from tlrec.data import samples
from tlrec.evaluation.config import EvaluationPlan, ModelPlan
from tlrec.evaluation.evaluate import Scores, SplitData, System
from tlrec.evaluation.record_schema import chain_name
from tlrec.model.adapter import attach_adapter
from tlrec.model.base_model import INT8_KINDS, load_base_model
from tlrec.model.fingerprint import check_unchanged
from tlrec.model.hub import hub_commit, model_name
from tlrec.model.prompt_encoder import Encoder


def planned_system(plan: EvaluationPlan, command: str) -> System:
    """The system that the plan names. command: the evaluation's own, for its record."""
    model, arguments = plan.model, plan.config.recorded()
    if model is None:
        return System("liked-ratio", "liked-ratio", {}, _liked_ratio, [command], arguments)
    return System(language_model_name(model), "llm", model_request(model),
                  lambda data: _language_model_scores(model, data), model.commands(command), arguments,
                  record_fields(model))


def language_model_name(model: ModelPlan) -> str:
    """Its name in tables: base model and tuning stages."""
    base, adapter = model_name(model.base), model.adapter
    return chain_name(base, zip(adapter.chain, adapter.rows_of_chain, strict=True)) if adapter else f"{base}, untuned"


def model_request(model: ModelPlan) -> dict[str, Any]:
    """What determines the model's scores, beside the rows."""
    config, adapter = model.config, model.adapter
    return {
        "base_model": model.fingerprint,
        "adapter_sha256": adapter.sha256 if adapter else None,
        **({"adapter_settings_sha256": adapter.config.settings_hash()} if adapter else {}),
        "load_in_8bit": config.load_in_8bit,
        **({"load_in_4bit": True} if config.load_in_4bit else {}),
        **({"int8": config.int8} if config.load_in_8bit or config.int8 != INT8_KINDS[0] else {}),
        "dtype": config.dtype,
        "prompt_template": config.prompt_template,
        **({"scoring_batch_size": config.scoring_batch_size} if config.scoring_batch_size else {}),
    }


def load_model(plan: ModelPlan) -> tuple[Any, Encoder]:
    """(model with its adapter, encoder). A notice where the adapter was tuned with another template."""
    config, adapter = plan.config, plan.adapter
    manifest = adapter.manifest if adapter else None
    tuned_with = manifest.arguments.get("prompt_template") if manifest else config.prompt_template
    if tuned_with != config.prompt_template:
        print(f"notice: the adapter was tuned with --prompt_template {tuned_with}, it is scored with "
              f"{config.prompt_template}")
    model, tokenizer = load_base_model(plan.base, config.load_in_8bit, config.dtype, plan.device, config.load_in_4bit,
                                       int8=config.int8)
    check_unchanged(plan.base, plan.fingerprint)
    if adapter:
        model = attach_adapter(model, None, adapter)
    return model, Encoder(tokenizer, config.prompt_template)


def batch_limits(model, batch_size: int | None) -> tuple[int, int | None]:
    """(rows, tokens) of a scoring batch, as scoring.score() takes them. batch_size: None: what memory allows."""
    from tlrec.model import scoring

    return batch_size or 16, None if batch_size else scoring.token_budget(model)


def _liked_ratio(data: SplitData) -> Scores:
    assert data.title_counts is not None  # config.resolve() reads the split with needs_titles
    return Scores({"p_yes": samples.liked_ratio(data.title_counts)})


def _language_model_scores(plan: ModelPlan, data: SplitData) -> Scores:
    from tlrec.model import scoring

    model, encoder = load_model(plan)
    batch_size, tokens = batch_limits(model, plan.config.scoring_batch_size)
    if tokens:
        print(f"batches of {tokens:,} tokens")
    scores = scoring.score(model, encoder, data.rows, batch_size, "scoring",
                           lambda row: f"{data.path}: record {data.row_numbers[row]}", tokens=tokens)
    return Scores(scores._asdict(), {"scoring_tokens": tokens} if tokens else {})


def record_fields(model: ModelPlan) -> dict[str, Any]:
    """What a record says of the model: base, and of its adapter chain, shots, seed, last tuning data and cost."""
    commit, adapter = hub_commit(model.base), model.adapter
    fields = {"base_model": model_name(model.base), **({"base_model_commit": commit} if commit else {})}
    if adapter is None:
        return fields
    names = {"shots", "seed", "cuts", "steps", "data", "arguments", "stages"}
    manifest = adapter.manifest.model_dump(include=names) if adapter.manifest else {}
    return fields | {
        "chain": adapter.chain,
        "rows_of_chain": adapter.rows_of_chain,
        "shots": manifest.pop("shots", None),
        "seed": manifest.pop("seed", None),
        "train_domain": adapter.chain[-1],
        "tuning_seconds": round(adapter.seconds, 1),
        "adapter": {"path": os.path.abspath(adapter.folder), **manifest},
    }

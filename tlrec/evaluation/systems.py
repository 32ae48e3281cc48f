"""The systems that evaluate.py scores: a language model with or without an adapter, and the training-free control."""

from pathlib import Path
from typing import Any

from tlrec.data import samples
from tlrec.evaluation.config import EvaluationPlan
from tlrec.evaluation.evaluate import EvaluationData, Scores, System
from tlrec.files import sha256
from tlrec.model import prompts
from tlrec.model.adapter import Adapter, attach_adapter
from tlrec.model.base import load_base_model, select_device
from tlrec.model.fingerprint import base_model_fingerprint


def planned_system(plan: EvaluationPlan, command: str) -> System:
    """The system that the plan names. command: the evaluation's own, for its record."""
    if plan.base is None:
        return System("liked-ratio", "liked-ratio", {}, _liked_ratio, [command], plan.config.recorded())
    return _language_model(plan, plan.base, command)


def _liked_ratio(data: EvaluationData) -> Scores:
    return Scores({"p_yes": samples.liked_ratio(samples.title_counts(data.rows, data.path))})


def _language_model(plan: EvaluationPlan, base: Path, command: str) -> System:
    config, adapter = plan.config, plan.adapter
    request = {
        "base_model": base_model_fingerprint(base),
        "adapter_sha256": sha256(adapter.weights) if adapter else None,
        **({"adapter_settings_sha256": adapter.config.settings_hash()} if adapter else {}),
        "load_in_8bit": config.load_in_8bit,
        **({"load_in_4bit": True} if config.load_in_4bit else {}),
        "dtype": config.dtype,
        "prompt_template": config.prompt_template,
        "scoring_batch_size": config.scoring_batch_size,
    }
    prompts.check_chat_template(base, config.prompt_template)

    def score(data: EvaluationData) -> Scores:
        manifest = adapter.manifest if adapter else None
        tuned_with = manifest.arguments["prompt_template"] if manifest else config.prompt_template
        if tuned_with != config.prompt_template:
            print(f"notice: the adapter was tuned with --prompt_template {tuned_with}, it is scored with "
                  f"{config.prompt_template}")
        device = select_device()
        from tlrec.model import scoring
        from tlrec.model.encoder import Encoder

        model, tokenizer = load_base_model(base, config.load_in_8bit, config.dtype, device, config.load_in_4bit)
        if adapter:
            model = attach_adapter(model, None, adapter)
        encoder = Encoder(tokenizer, config.prompt_template)
        scores = scoring.score(model, encoder, data.rows, config.scoring_batch_size, "scoring",
                               lambda row: f"{data.path}: record {data.row_numbers[row]}")
        return Scores(scores._asdict())

    commands = [*(adapter.commands if adapter else []), command]
    fields = {"base_model": base.name} | (_adapter_fields(adapter) if adapter else {})
    return System(_name(base, adapter), "llm", request, score, commands, config.recorded(), fields)


def _name(base: Path, adapter: Adapter | None) -> str:
    """A run's name in tables: base model + adapter chain, with the training rows of each stage."""
    if adapter is None:
        return f"{base.name}, untuned"
    stages = [name if rows is None else f"{name} ({rows:,} rows)"
              for name, rows in zip(adapter.chain, adapter.rows_of_chain, strict=True)]
    return " + ".join([base.name, *stages])


def _adapter_fields(adapter: Adapter) -> dict[str, Any]:
    """What a record says of the adapter: chain, shots, seed, where its last tuning data came from, and its cost."""
    manifest = adapter.manifest.model_dump() if adapter.manifest else {}
    return {
        "chain": adapter.chain,
        "rows_of_chain": adapter.rows_of_chain,
        "shots": manifest.get("shots"),
        "seed": manifest.get("seed"),
        "train_domain": adapter.chain[-1],
        "tuning_seconds": round(adapter.seconds, 1),
        "adapter": {"path": str(adapter.folder), "cuts": manifest.get("cuts"), "steps": manifest.get("steps"),
                    "data": manifest.get("data"), "arguments": manifest.get("arguments")},
    }

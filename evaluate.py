"""Score a test set with a base model, with or without an adapter, and report AUC.

    python evaluate.py --base_model smollm2-135m --lora_weights output_model/smollm2-135m/movie/movielens/0_64 \
        --test_data_path rec_data/movie/test.json
    python evaluate.py --method liked-ratio --test_data_path rec_data/movie/test.json
"""

import os
import time
from pathlib import Path

import numpy as np

from tlrec import cli, distributed, files, paths
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.evaluation import metrics, run_log
from tlrec.model import prompts
from tlrec.model.adapter import Adapter, attach_adapter, inspect_adapter, lora_config
from tlrec.model.base import check_quantization, load_base_model, recorded_name, resolve_base_model, select_device
from tlrec.model.fingerprint import base_model_fingerprint

METHODS = ("llm", "liked-ratio")
SAMPLE_SEED = 0


def main(
    test_data_path: str,
    base_model: str | None = None,
    lora_weights: str | None = None,
    method: str = "llm",
    test_rows: int = -1,
    scoring_batch_size: int = 16,
    load_in_8bit: bool = False,
    load_in_4bit: bool = False,
    dtype: str = "auto",
    prompt_template: str = prompts.DEFAULT_TEMPLATE,
    experiment: str = "",
    skip_recorded: bool = False,
) -> None:
    """AUC of P(Yes) over a test set; one record in results/runs.jsonl, per-sample predictions beside it.

    Args:
        test_data_path: instruction JSON whose outputs are `Yes.` and `No.`
        base_model: model folder, or its name under base_model/
        lora_weights: adapter folder; without it the base model is scored untuned
        method: llm, or liked-ratio (the share of liked titles in the prompt; needs no model)
        test_rows: score this many rows, drawn with a fixed seed; -1 is all
        scoring_batch_size: prompts per forward pass
        load_in_8bit: base model in 8-bit
        load_in_4bit: base model in 4-bit, as QLoRA (NF4, quantised scales)
        dtype: auto, bfloat16, float16 or float32; auto is fp16 on CUDA, on a CPU bf16 where it has it, else fp32
        prompt_template: alpaca-published, alpaca for the clean wording, or chat for the model's own chat template
        experiment: a name under which report.py finds the record
        skip_recorded: print the earlier record of exactly this run, if there is one, instead of scoring again
    """
    prompts.check_template(prompt_template)
    check_quantization(load_in_8bit, load_in_4bit)
    if method not in METHODS:
        raise InputError(f"--method {method!r} is unknown; choose from {', '.join(METHODS)}")
    if dtype not in ("auto", "bfloat16", "float16", "float32"):
        raise InputError(f"--dtype {dtype!r} is unknown; choose auto, bfloat16, float16 or float32")
    if scoring_batch_size < 1:
        raise InputError(f"--scoring_batch_size {scoring_batch_size}: must be at least 1")
    if method == "llm" and not base_model:
        raise InputError("missing --base_model; only --method liked-ratio works without one")
    if method != "llm" and lora_weights:
        raise InputError(f"--method {method} reads no model; leave --lora_weights out")
    test_path = Path(test_data_path)
    rows = samples.read_samples(test_path, answers_only=True)
    users = samples.user_ids(test_path, rows)
    if test_rows != -1 and not 0 < test_rows <= len(rows):
        raise InputError(f"--test_rows {test_rows}: {test_path} has {len(rows)} rows; give 1 to {len(rows)}, or -1")
    base = resolve_base_model(base_model) if method == "llm" else None
    adapter = inspect_adapter(lora_weights, base) if lora_weights and base else None
    picked = np.arange(len(rows))
    sampled = test_rows not in (-1, len(rows))
    if sampled:
        picked = np.sort(np.random.default_rng(SAMPLE_SEED).permutation(len(rows))[:test_rows])
    rows, users = [rows[i] for i in picked], users[picked] if users is not None else None
    counts = _title_counts(method, rows, test_path)
    request = {
        "method": method,
        "test_sha256": files.sha256(test_path),
        "test_rows": len(rows),
        "base_model": base_model_fingerprint(base) if base else None,
        "adapter_sha256": files.sha256(adapter.weights) if adapter else None,
        **({"adapter_settings_sha256": adapter.config.settings_hash()} if adapter else {}),
        "load_in_8bit": load_in_8bit,
        "dtype": dtype,
        "prompt_template": prompt_template,
        "scoring_batch_size": scoring_batch_size,
        **({"load_in_4bit": True} if load_in_4bit else {}),
        **(prompts.chat_template_hash(base, prompt_template) if base else {}),
    }
    system = _system(method, base, adapter)
    distributed.init()
    recorded = distributed.broadcast_from_main(lambda: run_log.find_record(request)) if skip_recorded else None
    if recorded:
        print(f"{system}: already recorded as {recorded['run_id']}; reused")
        if distributed.is_main_process() and recorded["experiment"] != experiment:
            run_log.append_record({**recorded, "experiment": experiment, "reused_from": recorded["run_id"]})
        _print_figures(recorded["metrics"])
        return
    print(f"{system}: {len(rows)} rows of {test_path}")
    tuned_with = adapter.manifest.arguments["prompt_template"] if adapter and adapter.manifest else prompt_template
    if tuned_with != prompt_template:
        print(f"notice: the adapter was tuned with --prompt_template {tuned_with}, it is scored with {prompt_template}")
    folder = paths.writable_directory(paths.results_dir())
    began = time.time()
    if method == "llm":
        bits = (load_in_8bit, load_in_4bit)
        scores = _llm_scores(base, adapter, rows, bits, dtype, prompt_template, scoring_batch_size,
                             lambda row: f"{test_path}: record {picked[row]}")
        probabilities, columns = scores.p_yes, scores._asdict()
    else:
        probabilities = samples.liked_ratio(counts)
        columns = {"p_yes": probabilities}
    if not distributed.is_main_process():
        return
    labels = np.array([row.label for row in rows])
    figures = metrics.evaluate(labels, probabilities, users, counts)
    if method == "llm":
        figures["auc_published_score"] = metrics.auc(labels, columns["p_yes_published"])
    record = {
        "system": system,
        "experiment": experiment,
        "method": method,
        "base_model": base.name if base else None,
        **(_adapter_record(adapter) if adapter else {}),
        "test_data": {"path": os.path.abspath(test_path), "sha256": request["test_sha256"], "rows": len(rows),
                      "sampled_with_seed": SAMPLE_SEED if sampled else None},
        "metrics": figures,
        "seconds": round(time.time() - began, 2),
        "arguments": {name: value for name, value in request.items() if not name.endswith("sha256")}
        | {"base_model": recorded_name(base_model),
           "lora_weights": lora_weights and os.path.abspath(lora_weights),
           "test_data_path": os.path.abspath(test_path), "experiment": experiment},
        "request": request,
    }
    run_id = run_log.append_evaluation(record, test_path, picked, users, labels, columns)
    print(f"recorded as {run_id} in {folder / 'runs.jsonl'}")
    _print_figures(figures)


def _title_counts(method: str, rows: list[samples.Sample], path: Path) -> np.ndarray | None:
    """Liked and disliked titles per prompt; a language model also scores prompts that have none (None)."""
    try:
        return samples.title_counts(rows, path)
    except InputError:
        if method != "llm":
            raise
        return None


def _llm_scores(base, adapter, rows, bits, dtype, template, batch_size, named):
    device = select_device()
    from tlrec.model import scoring
    from tlrec.model.encoder import Encoder

    model, tokenizer = load_base_model(base, bits[0], dtype, device, load_in_4bit=bits[1])
    if adapter:
        model = attach_adapter(model, lora_config(adapter), adapter)
    return scoring.score(model, Encoder(tokenizer, template), rows, batch_size, "scoring", named)


def _system(method: str, base: Path | None, adapter: Adapter | None) -> str:
    """A run's name in tables: base model + adapter chain, with the training rows of each stage."""
    if base is None or adapter is None:
        return method if base is None else f"{base.name}, untuned"
    stages = [name if rows is None else f"{name} ({rows:,} rows)"
              for name, rows in zip(adapter.chain, adapter.rows_of_chain, strict=True)]
    return " + ".join([base.name, *stages])


def _adapter_record(adapter: Adapter) -> dict:
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
                    "data": manifest.get("data"), "arguments": manifest.get("arguments"), "commands": adapter.commands},
    }


def _print_figures(figures: dict) -> None:
    def shown(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.4f}"

    def between(interval: list | None) -> str:
        return "undefined" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"

    print(f"n {figures['n']}, share of Yes {figures['share_yes']:.3f}")
    print(f"95% interval of the AUC, users resampled: {between(figures['auc_interval_users'])}")
    print(f"95% interval of the AUC, rows resampled:  {between(figures['auc_interval_rows'])}")
    print(f"UAUC {shown(figures['uauc'])} over {figures['uauc_users']} users with both answers")
    if figures.get("stratified_pairs"):
        print(f"stratified AUC {shown(figures['stratified_auc'])} over {figures['stratified_pairs']:,} pairs with an "
              f"equal number of liked titles; Spearman with liked-ratio {shown(figures['spearman_liked_ratio'])}")
    print(f"accuracy {figures['accuracy']:.4f}, log loss {figures['log_loss']:.4f}, "
          f"calibration error {figures['calibration_error']:.4f}")
    if "auc_published_score" in figures:
        print(f"AUC by the published score p(Yes) - p(No): {shown(figures['auc_published_score'])}")
    print(f"===== auc: {shown(figures['auc'])} =====")


if __name__ == "__main__":
    cli.run(main)

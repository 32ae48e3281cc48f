"""Share a tuned model, with a model card: an adapter, or a full model folder that any Hugging Face tool loads.

    python -m base_model.export --base_model llama-7b --lora_weights output_model/llama-7b/movie/alpaca_netflix/0_64 \
        --output_dir merged/movie-64
    python -m base_model.export --base_model llama-7b --lora_weights output_model/llama-7b/movie/alpaca_netflix/0_64 \
        --output_dir shared/movie-64 --adapter_only True --push_to owner/name
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from base_model import hub_upload, model_card
from tlrec import cli, files, paths
from tlrec.errors import InputError
from tlrec.evaluation import run_log
from tlrec.model.adapter import Adapter, attach_adapter, inspect_adapter
from tlrec.model.base_model import load_base_model, resolve_base_model
from tlrec.model.fingerprint import base_model_fingerprint, check_unchanged
from tlrec.model.hub import hub_commit, model_name, pinned_name
from tlrec.model.load_tokenizer import load_tokenizer
from tlrec.reports import records
from tlrec.signature_flags import PathText

DTYPES = ("auto", "bfloat16", "float16", "float32")


def main(base_model: PathText, lora_weights: PathText, output_dir: PathText, dtype: str = "auto",
         adapter_only: bool = False, card_only: bool = False, push_to: str | None = None, private: bool = True,
         base_model_id: str | None = None, license: str = "other",  # noqa: A002
         runs: list[PathText] | None = None) -> None:
    """Write base model + adapter as one model folder, atomically, with a model card and its provenance in export.json.

    Args:
        base_model: model folder, its name under base_model/, or owner/name[@revision] on the Hub
        lora_weights: adapter folder, or owner/name[@revision] on the Hub
        output_dir: new folder that receives the model
        dtype: of the merged weights; auto is that of the base model's config
        adapter_only: the adapter with its manifest instead of a merged model
        card_only: the model card alone, README.md; with --adapter_only True that of the adapter
        push_to: owner/name on the Hugging Face Hub, where the folder is uploaded after it is written; needs HF_TOKEN
        private: whether a repository that --push_to creates is private
        base_model_id: the base model's owner/name on the Hub, for the card and PEFT, where --base_model is a folder
        license: the card's, as the Hub names it, such as mit; other: the base model's licence holds
        runs: record files whose figures the card shows (default: results/runs.jsonl)
    """
    if dtype not in DTYPES:
        raise InputError(f"--dtype {dtype!r} is unknown; choose {', '.join(DTYPES)}")
    base, output = resolve_base_model(base_model), Path(output_dir)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output}: already exists; name a new folder")
    if not output_dir.isprintable():  # safetensors takes no other paths; a lone surrogate stands for a wrong byte
        raise InputError(f"--output_dir {output_dir!r}: not a UTF-8 name; choose another")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license):
        raise InputError(f"--license {license!r}: not a licence's name on the Hub; give one such as mit, or other")
    if push_to is not None:
        hub_upload.check_repository(push_to)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    merged = not (adapter_only or card_only)
    if merged and "quantization_config" in config:
        raise InputError(f"{base}: its weights are quantised, so an adapter cannot be merged into them; give the model "
                         "in fp16, bf16 or fp32")
    adapter = inspect_adapter(lora_weights, base)
    base_model_id = hub_upload.hub_name(base_model_id, base, adapter)
    if base_model_id is None and push_to is not None and adapter_only:
        raise InputError(f"--push_to: others cannot find the base model of this adapter, {model_name(base)}; give "
                         "--base_model_id owner/name")
    if base_model_id is None:
        print("notice: the card names no base model on the Hub; give --base_model_id owner/name", file=sys.stderr)
    wanted = config.get("dtype") or config.get("torch_dtype") or "float32" if dtype == "auto" else dtype
    if merged and wanted not in DTYPES:
        raise InputError(f"{base / 'config.json'}: unsupported dtype {wanted!r}; give --dtype")
    evaluations = records.read_runs(runs) if runs or run_log.runs_file().exists() else []
    fingerprint = base_model_fingerprint(base)
    card = model_card.render(adapter, model_name(base), base_model_id, evaluations, fingerprint, not adapter_only,
                             license)
    paths.writable_directory(output.parent)
    model, tokenizer, provenance = merge(base, adapter, wanted, fingerprint) if merged else (None, None, {})
    with files.build_directory(output) as partial:
        if partial is None:
            raise InputError(f"{output}: already exists; name another folder, or remove it")
        if merged:
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
            (partial / "export.json").write_text(json.dumps(provenance, indent=2))
        elif adapter_only and not card_only:
            hub_upload.copy_adapter(adapter, partial, base_model_id or base.name)
        (partial / "README.md").write_text(card, encoding="utf-8")
    what = f", {wanted}" if merged else ", the card alone" if card_only else ", the adapter"
    print(f"{output}: {model_name(base)} + {' + '.join(adapter.chain)}{what}")
    if push_to is not None:
        print(f"pushed to {hub_upload.push(output, push_to, private)}")


def merge(base: Path, adapter: Adapter, dtype: str, fingerprint: str) -> tuple[Any, Any, dict]:
    """(merged model, its tokenizer, where they come from). InputError where the adapter does not fit the base."""
    model, _ = load_base_model(base, False, dtype, "cpu")
    if adapter.config.modules_to_save and model.config.tie_word_embeddings:
        raise InputError(f"{adapter.folder}: has modules_to_save, and the base model's input and output layers share "
                         "their weights, which one model folder cannot hold apart; score it with --lora_weights")
    model = attach_adapter(model, None, adapter)
    try:
        model = model.merge_and_unload(safe_merge=True)
    except ValueError as error:  # the merged weights are not finite
        raise InputError(f"{adapter.folder}: cannot be merged in {dtype} ({error}); try --dtype float32") from None
    tokenizer = load_tokenizer(base)  # without the padding that load_base_model() sets
    check_unchanged(base, fingerprint)
    return model, tokenizer, {
        "base_model": {"name": model_name(base), "fingerprint": fingerprint, "commit": hub_commit(base)},
        "adapter": {
            "path": pinned_name(adapter.folder) or hub_upload.without_folders(str(adapter.folder.resolve())),
            "sha256": adapter.sha256,
            "chain": adapter.chain,
            "rows_of_chain": adapter.rows_of_chain,
            "prompt_template": adapter.manifest.arguments.get("prompt_template") if adapter.manifest else None,
        },
        "dtype": dtype,
        **run_log.environment(),
    }


if __name__ == "__main__":
    cli.run(main)

"""Merge an adapter into its base model: a full model folder that any Hugging Face tool loads.

    python -m base_model.export --base_model llama-7b --lora_weights output_model/llama-7b/movie/alpaca_netflix/0_64 \
        --output_dir merged/movie-64
"""

import json
from pathlib import Path

from tlrec import cli, files, paths
from tlrec.errors import InputError
from tlrec.evaluation import run_log
from tlrec.model.adapter import Adapter, attach_adapter, inspect_adapter
from tlrec.model.base_model import load_base_model, resolve_base_model
from tlrec.model.fingerprint import base_model_fingerprint, check_unchanged
from tlrec.model.hub import hub_commit, model_name, pinned_name
from tlrec.model.tokenizer import load_tokenizer
from tlrec.signature_flags import PathText

DTYPES = ("auto", "bfloat16", "float16", "float32")


def main(base_model: PathText, lora_weights: PathText, output_dir: PathText, dtype: str = "auto") -> None:
    """Write base model + adapter as one model folder, atomically, with its provenance in export.json.

    Args:
        base_model: model folder, its name under base_model/, or owner/name[@revision] on the Hub
        lora_weights: adapter folder, or owner/name[@revision] on the Hub
        output_dir: new folder that receives the model
        dtype: of the merged weights; auto is that of the base model's config
    """
    if dtype not in DTYPES:
        raise InputError(f"--dtype {dtype!r} is unknown; choose {', '.join(DTYPES)}")
    base, output = resolve_base_model(base_model), Path(output_dir)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output}: already exists; name a new folder")
    if not output_dir.isprintable():  # safetensors takes no other paths; a lone surrogate stands for a wrong byte
        raise InputError(f"--output_dir {output_dir!r}: not a UTF-8 name; choose another")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    if "quantization_config" in config:
        raise InputError(f"{base}: its weights are quantised, so an adapter cannot be merged into them; give the model "
                         "in fp16, bf16 or fp32")
    adapter = inspect_adapter(lora_weights, base)
    wanted = config.get("dtype") or config.get("torch_dtype") or "float32" if dtype == "auto" else dtype
    if wanted not in DTYPES:
        raise InputError(f"{base / 'config.json'}: unsupported dtype {wanted!r}; give --dtype")
    paths.writable_directory(output.parent)
    merge(base, adapter, output, wanted)
    print(f"{output}: {model_name(base)} + {' + '.join(adapter.chain)}, {wanted}")


def merge(base: Path, adapter: Adapter, output: Path, dtype: str) -> None:
    """Write the merged model. InputError where the adapter does not fit the base model."""
    fingerprint = base_model_fingerprint(base)
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
    provenance = {
        "base_model": {"name": model_name(base), "fingerprint": fingerprint, "commit": hub_commit(base)},
        "adapter": {
            "path": pinned_name(adapter.folder) or paths.relative_to_home(str(adapter.folder.resolve())),
            "sha256": adapter.sha256,
            "chain": adapter.chain,
            "rows_of_chain": adapter.rows_of_chain,
            "prompt_template": adapter.manifest.arguments.get("prompt_template") if adapter.manifest else None,
        },
        "dtype": dtype,
        **run_log.environment(),
    }
    with files.build_directory(output) as partial:
        if partial is None:
            raise InputError(f"{output}: already exists; name another folder, or remove it")
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        (partial / "export.json").write_text(json.dumps(provenance, indent=2))


if __name__ == "__main__":
    cli.run(main)

"""Base models: a look at their folder before torch is imported, then loading."""

import logging
import os
import re
import warnings
from pathlib import Path

from tlrec import paths
from tlrec.errors import InputError
from tlrec.files import read_json, safetensors_names

NO_LENGTH_LIMIT = 10**9


def resolve_base_model(base_model: str) -> Path:
    """The folder of a base model, given as a path or as a name under base_model/. InputError if it is not usable."""
    if not base_model:
        raise InputError("--base_model is empty; name a model folder, or one under base_model/")
    folder = Path(base_model)
    if not folder.is_dir() and (paths.home_dir() / "base_model" / base_model).is_dir():
        folder = paths.home_dir() / "base_model" / base_model
    if not folder.is_dir():
        raise InputError(f"{base_model}: no such model folder; `python -m base_model.prepare smollm2-135m` makes the "
                         "embedded one, the README says how to bring LLaMA-7B")
    config = read_json(folder / "config.json", "a Hugging Face model folder needs one")
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise InputError(f"{folder / 'config.json'}: names no model_type; is this a Hugging Face model folder?")
    if not list(folder.glob("*.safetensors")) + list(folder.glob("pytorch_model*.bin")):
        raise InputError(f"{folder}: holds no weights (*.safetensors or pytorch_model*.bin)")
    if not (list(folder.glob("tokenizer*")) or list(folder.glob("vocab*"))):
        raise InputError(f"{folder}: holds no tokenizer")
    check_base_files(folder)
    check_quantised(folder, config)
    return folder.resolve()


def recorded_name(base_model: str | None) -> str | None:
    """A base model as a record names it: a path is made whole, so that it is found from any folder."""
    return os.path.abspath(base_model) if base_model and Path(base_model).is_dir() else base_model


def select_device() -> str:
    """`cuda` or `cpu`, printed; the first thing to call before torch's libraries are used."""
    import torch

    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # peft's own calls
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of 4-bit kernels that are not used here
    if torch.cuda.is_available():
        print(f"device: {torch.cuda.get_device_name(0)}", flush=True)
        return "cuda"
    print(f"device: CPU ({torch.get_num_threads()} threads); no CUDA device was found", flush=True)
    return "cpu"


def resolve_dtype(name: str, device: str):
    """torch dtype for --dtype; auto is fp16 on CUDA, on a CPU bf16 where the processor has it, else fp32."""
    import torch

    names = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
    if name != "auto":
        return names[name]
    if device == "cuda":
        return torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def check_quantization(load_in_8bit: bool | None, load_in_4bit: bool) -> None:
    if load_in_8bit and load_in_4bit:
        raise InputError("--load_in_8bit and --load_in_4bit exclude each other; give one")


def load_base_model(
    base: Path, load_in_8bit: bool, dtype: str, device: str, load_in_4bit: bool = False, shard: bool = False
):
    """(model, tokenizer) of a base model folder. InputError where the folder cannot be loaded.

    4-bit is QLoRA's: NF4 with quantised scales, computing in `dtype`. shard: the weights stay in host memory, and the
    Trainer spreads them over the processes' devices.
    """
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        AutoConfig,
        AutoModelForCausalLM,
        AutoTokenizer,
        BitsAndBytesConfig,
    )
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # peft's own calls
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of 4-bit kernels that are not used here
    compute = resolve_dtype(dtype, device)
    quantization = {}
    if load_in_8bit or load_in_4bit:
        quantization["quantization_config"] = BitsAndBytesConfig(
            load_in_8bit=load_in_8bit, load_in_4bit=load_in_4bit, bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute)
    placement = {"device_map": {"": device}} if quantization or device == "cuda" and not shard else {}
    here = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, **here)
        how = {"dtype": compute, "local_files_only": True, "output_loading_info": True, **placement, **quantization}
        if quantization and device == "cpu" and (files := _weight_files(base)):
            config = AutoConfig.from_pretrained(base, **here)
            model, found = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].from_pretrained(
                None, config=config, state_dict=_read_without_mmap(files), **how)
            model.name_or_path = model.config.name_or_path = str(base)  # adapters write down what they belong to
        else:
            model, found = AutoModelForCausalLM.from_pretrained(base, trust_remote_code=False, **how)
    except Exception as error:  # the loaders raise many kinds for a bad folder
        said = " ".join(str(error).split())[:300]
        raise InputError(f"{base}: cannot be loaded as a causal language model ({said})") from None
    missing = sorted(found["missing_keys"])  # a tied output layer is not among them
    if missing:
        raise InputError(f"{base}: its files lack {len(missing)} of the weights that config.json asks for, "
                         f"{missing[0]} among them; fetch the model again")  # random ones would stand in
    known = {re.sub(r"\.\d+\.", ".N.", name) for name in model.state_dict()}
    unused = sorted(name for name in found["unexpected_keys"] if re.sub(r"\.\d+\.", ".N.", name) in known)
    if unused or getattr(model.config, "num_hidden_layers", 1) == 0:
        raise InputError(f"{base}: its files hold {len(unused)} weights of layers that config.json leaves out, "
                         f"{(unused or ['all of them'])[0]} among them; fetch the model again")
    for layer in model.modules():  # bitsandbytes repacks 4-bit weights when they are evaluated: no gradient after that
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    # a slice of positions is not contiguous, and the output layer would copy its weights once per row for it
    model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:]))
    if tokenizer.pad_token_id is None:
        # as published: unk, LLaMA's id 0; where there is none, any token will do, since the attention mask hides it
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    tokenizer.model_max_length = NO_LENGTH_LIMIT  # what the model reads is asked of the model
    tokenizer.padding_side = "left"  # the answer's position is the last one in every row
    tokens = max(len(tokenizer), 1 + max(tokenizer.get_vocab().values(), default=0))
    if tokens > model.get_input_embeddings().num_embeddings:
        raise InputError(f"{base}: the tokenizer has {tokens} tokens, the model "
                         f"{model.get_input_embeddings().num_embeddings}; they do not belong together")
    return model, tokenizer


def max_positions(config) -> int | None:
    """Tokens that a model reads; None where its config does not say.

    Of LongRoPE models (Phi-3's) as many as it reads with one set of frequencies: with more it takes another one for
    the whole pass, so that a row's scores would depend on those beside it.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        return rope.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", None)
    return getattr(config, "max_position_embeddings", None)


def _weight_files(base: Path) -> list[Path]:
    """The safetensors files that transformers reads: model.safetensors, else those of the index; none without both."""
    if (base / "model.safetensors").is_file():
        return [base / "model.safetensors"]
    index = base / "model.safetensors.index.json"
    return [base / name for name in sorted(set(read_json(index, "")["weight_map"].values()))] if index.is_file() else []


def _read_without_mmap(files: list[Path]) -> dict:
    """The tensors of a model's safetensors files by name, each read when it is asked for.

    transformers maps the files into memory, where their pages stay beside the quantised weights until all are loaded:
    20 GiB for LLaMA-7B in 8-bit, instead of 9.
    """
    from safetensors import safe_open

    slices: dict = {}
    for path in files:
        file = safe_open(path, framework="pt", device="cpu", backend="pread")
        slices |= {name: file.get_slice(name) for name in file.keys()}
    return slices


def check_base_files(folder: Path) -> None:
    """InputError for a model folder that wants code of its own to run, weights from outside it, or has broken ones, and
    for one with an adapter in it, which transformers would put on the model by itself."""
    if (folder / "adapter_config.json").exists():
        raise InputError(f"{folder}: holds an adapter (adapter_config.json) beside the base model; move the adapter to "
                         "a folder of its own, and name that where an adapter is wanted")
    for path in sorted(folder.glob("*.safetensors")):
        safetensors_names(path)
    for path in sorted(folder.glob("*.json")):
        said = read_json(path, "") if path.name.endswith(("config.json", ".index.json")) else {}
        if not isinstance(said, dict):
            raise InputError(f"{path}: not a JSON object; fetch the model again")
        if "auto_map" in said:
            raise InputError(f"{path}: wants code of the folder's own to run (auto_map); no such code is run here: "
                             "take a model that transformers knows by itself, or remove the entry")
        shards = said.get("weight_map", {})
        names = shards.values() if isinstance(shards, dict) else [None]
        outside = [name for name in names if not isinstance(name, str) or Path(name).name != name]
        if outside:
            raise InputError(f"{path}: names weights outside its folder ({outside[0]!r}); fetch the model again")


def check_quantised(folder: Path, config: dict) -> None:
    """InputError where config.json says that the weights are bitsandbytes' and they are not."""
    said = config.get("quantization_config")
    if not isinstance(said, dict | None):
        raise InputError(f"{folder / 'config.json'}: quantization_config is not an object; fetch the model again")
    names = [name for path in folder.glob("*.safetensors") for name in safetensors_names(path)]
    ours = said and "bitsandbytes" in str(said.get("quant_method", "bitsandbytes"))
    if ours and names and not any(name.endswith((".SCB", ".absmax")) for name in names):
        raise InputError(f"{folder / 'config.json'}: quantization_config says that the weights are quantised, and they "
                         "are not; remove that entry, and give --load_in_8bit True or --load_in_4bit True")

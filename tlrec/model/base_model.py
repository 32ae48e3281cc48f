"""Base models: their folder is validated before torch is imported, then loaded."""

import logging
import os
import warnings
from pathlib import Path
from typing import Any

from tlrec import devices, paths
from tlrec.errors import InputError
from tlrec.files import read_json
from tlrec.model import hub
from tlrec.model.base_model_checks import check_layout, check_model, check_settings, check_types, is_buffer
from tlrec.model.load_tokenizer import load_tokenizer
from tlrec.model.weight_files import WEIGHT_PATTERNS, shape_text, stored_dtype, stored_tensors, weight_files

NO_LENGTH_LIMIT = 10**9
INT8_KINDS = ("weight-only", "llm.int8")  # how 8-bit weights compute
ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function")  # as config.json calls them


def resolve_base_model(base_model: str, weights: bool = True) -> Path:
    """The folder of a base model, given as a path, as a name under base_model/, or as `owner/name[@revision]` on the
    Hub, which is downloaded. InputError if it is not usable.

    weights: without them only settings and tokenizer of a model on the Hub are fetched and checked.
    """
    if not base_model:
        raise InputError("--base_model is empty; name a model folder, or one under base_model/")
    folder = Path(base_model)
    if not folder.is_dir() and (paths.home_dir() / "base_model" / base_model).is_dir():
        folder = paths.home_dir() / "base_model" / base_model
    on_hub = not folder.exists() and hub.is_hub_name(base_model)
    if on_hub:
        folder = hub.fetch(base_model, hub.SETTINGS, WEIGHT_PATTERNS if weights else (), check_settings)
    elif folder.is_dir():
        check_settings(folder, {path.name for path in folder.iterdir()})
    else:
        hub.check_no_address(base_model)
        check_layout(base_model, {folder.name})
        raise InputError(f"{base_model}: no such model folder; `python -m base_model.prepare smollm2-135m` makes the "
                         "embedded one, the README says how to bring LLaMA-7B")
    if weights or not on_hub:
        with hub.named_as(base_model, folder):
            check_model(folder, read_json(folder / "config.json", ""))
    return Path(os.path.abspath(folder))  # a link keeps its name


def _silence_libraries() -> None:
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # peft's own calls
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of 4-bit kernels that are not used here


def select_device() -> str:
    """`cuda` or `cpu`, printed; the first thing to call before torch's libraries are used. InputError where the machine
    has an NVIDIA GPU that torch cannot use."""
    _silence_libraries()
    on_cuda = devices.use_cuda()
    import torch

    if on_cuda:
        print(f"device: {torch.cuda.get_device_name(0)}", flush=True)
        return "cuda"
    print(f"device: CPU ({torch.get_num_threads()} threads); no CUDA device was found", flush=True)
    return "cpu"


def resolve_dtype_name(dtype: str, device: str, base: Path) -> str:
    """The name of --dtype without `auto`; see auto_dtype()."""
    if dtype != "auto":
        return dtype
    import torch

    has_bf16 = (torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda"
                else torch.cpu._is_avx512_bf16_supported())
    return auto_dtype(device, has_bf16, stored_dtype(base))


def auto_dtype(device: str, has_bf16: bool, stored: str) -> str:
    """What `--dtype auto` is on a device that has bf16 instructions or not, for a checkpoint of type `stored`.

    On CUDA a bf16 checkpoint stays so: Qwen2 and Gemma overflow in fp16.
    """
    if device == "cuda":
        return "bfloat16" if has_bf16 and stored == "bfloat16" else "float16"
    return "bfloat16" if has_bf16 else "float32"


def check_quantization(load_in_8bit: bool | None, load_in_4bit: bool) -> None:
    if load_in_8bit and load_in_4bit:
        raise InputError("--load_in_8bit and --load_in_4bit exclude each other; give one")


def load_base_model(
    base: Path, load_in_8bit: bool, dtype: str, device: str, load_in_4bit: bool = False, shard: bool = False,
    int8: str = INT8_KINDS[0],
):
    """(model, tokenizer) of a base model folder. InputError where the folder cannot be loaded.

    4-bit is QLoRA's: NF4 with double quantisation, computing in `dtype`. shard: the weights stay in host memory for
    the Trainer to shard over the processes' devices. int8: of INT8_KINDS; both have the same 8-bit weights.
    """
    import torch
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        AutoConfig,
        AutoModelForCausalLM,
        BitsAndBytesConfig,
    )
    from transformers.utils import logging as transformers_logging

    _silence_libraries()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # what it warns of while loading is an error here
    compute = getattr(torch, resolve_dtype_name(dtype, device, base))
    quantization = {}
    saved = read_json(base / "config.json", "a Hugging Face model folder needs one").get("quantization_config")
    if (load_in_8bit or load_in_4bit) and not saved:
        quantization["quantization_config"] = BitsAndBytesConfig(
            load_in_8bit=load_in_8bit, load_in_4bit=load_in_4bit, bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute)
    placement = {"device_map": {"": device}} if quantization or saved or device == "cuda" and not shard else {}
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        files = weight_files(base)
        in_safetensors = files[0].suffix == ".safetensors"
        if not in_safetensors:
            check_types(base, stored_tensors(base))
        _check_names(base)
        tokenizer = load_tokenizer(base)
        config = AutoConfig.from_pretrained(base, **safe)
        options: dict[str, Any] = {"dtype": compute, "output_loading_info": True, "ignore_mismatched_sizes": True,
                                   **placement, **quantization}
        loaded: Any
        if quantization and device == "cpu" and in_safetensors:
            architecture: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
            loaded = architecture.from_pretrained(None, config=config, state_dict=_read_without_mmap(files), **options)
            loaded[0].name_or_path = loaded[0].config.name_or_path = str(base)  # adapters record their base model
        else:
            loaded = AutoModelForCausalLM.from_pretrained(base, **safe, **options)
    except InputError:
        raise
    except Exception as error:  # the loaders raise many kinds for a bad folder
        reason = " ".join(f"{'unknown: ' * isinstance(error, KeyError)}{error}".split())[:300]
        raise InputError(f"{base}: cannot be loaded as a causal language model ({reason})") from None
    model, report = loaded
    for name, stored, expected in sorted(report["mismatched_keys"]):
        raise InputError(f"{base}: {name} is {shape_text(stored)} in its files, and config.json asks for "
                         f"{shape_text(expected)}; they do not belong together, fetch the model again")
    missing = sorted(report["missing_keys"])  # a tied lm_head is not among them
    if missing:
        raise InputError(f"{base}: its files lack {len(missing)} of the weights that config.json asks for, "
                         f"{missing[0]} among them; fetch the model again")  # they would be initialised at random
    unused = sorted(name for name in report["unexpected_keys"] if not is_buffer(name))
    if unused or getattr(model.config, "num_hidden_layers", 1) == 0:
        raise InputError(f"{base}: its files hold {len(unused)} weights that config.json leaves out, "
                         f"{(unused or ['all of them'])[0]} among them; fetch the model again")
    if int8 == INT8_KINDS[0] and (quantization or saved):
        from tlrec.model.int8_linear import use_weight_only

        use_weight_only(model)
    for layer in model.modules():  # else evaluation repacks 4-bit weights, which breaks gradients
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    # for a slice, which is not contiguous, the lm_head would copy its weights once per row
    model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:]))
    if tokenizer.pad_token_id is None:
        # published: unk, LLaMA's id 0; otherwise any token, since the attention mask hides it
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    tokenizer.model_max_length = NO_LENGTH_LIMIT  # max_positions() gives the model's own limit
    tokenizer.padding_side = "left"  # so that every row ends at its answer
    tokens = max(len(tokenizer), 1 + max(tokenizer.get_vocab().values(), default=0))
    if tokens > model.get_input_embeddings().num_embeddings:
        raise InputError(f"{base}: the tokenizer has {tokens} tokens, the model "
                         f"{model.get_input_embeddings().num_embeddings}; they do not belong together")
    return model, tokenizer


def _check_names(base: Path) -> None:
    """InputError where config.json names an architecture or an activation function that transformers does not know."""
    from transformers import CONFIG_MAPPING, __version__
    from transformers.activations import ACT2FN

    config = read_json(base / "config.json", "")
    for name, known in (("model_type", CONFIG_MAPPING), *((name, ACT2FN) for name in ACTIVATIONS)):
        value = config.get(name)
        if value is not None and not (isinstance(value, str) and value in known):
            raise InputError(f"{base / 'config.json'}: {name} is {str(value)[:60]!r}, which transformers {__version__} "
                             "does not know; take a model that it supports")


def max_positions(config) -> int | None:
    """A model's maximum sequence length in tokens; None where its config gives none.

    For LongRoPE models (Phi-3) the length of the short frequencies: beyond it the whole batch switches to the long
    ones, so that a row's scores would depend on the other rows.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        return rope.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", None)
    return getattr(config, "max_position_embeddings", None)


def _read_without_mmap(files: list[Path]) -> dict:
    """The tensors of a model's safetensors files by name, each read on access.

    transformers memory-maps the files, whose pages stay resident beside the quantised weights until all are loaded: 20
    GiB for LLaMA-7B in 8-bit, instead of 9.
    """
    from safetensors import safe_open

    slices: dict = {}
    for path in files:
        file = safe_open(path, framework="pt", device="cpu", backend="pread")
        slices |= {name: file.get_slice(name) for name in file.keys()}
    return slices

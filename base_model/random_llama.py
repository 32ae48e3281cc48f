"""A model of LLaMA-7B's shape with random weights, to measure the cost of 7B without its licence.

    python -m base_model.prepare random-llama-7b --tokenizer /path/to/llama-7b-hf

Its AUC is chance. The weights are drawn and written one shard at a time, so making it takes 2 GiB of memory.
"""

import json
import shutil
from pathlib import Path

from tlrec import files, paths
from tlrec.data import samples
from tlrec.errors import InputError, first_line
from tlrec.model.base_model import resolve_base_model
from tlrec.model.base_model_checks import check_base_files
from tlrec.model.load_tokenizer import load_tokenizer
from tlrec.signature_flags import PathText

NAME = "random-llama-7b"
SHAPE = {"vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
         "num_attention_heads": 32, "max_position_embeddings": 2048}  # huggyllama/llama-7b's config.json
SHARD_BYTES = 1 << 30
TOKENIZER_DATA = "rec_data/movie/train.json"
TRAINED_TOKENS = 500  # a row of movie/test is then 248 tokens, as with LLaMA's tokenizer


def prepare_random(tokenizer: PathText | None = None, seed: int = 0, layers: int = SHAPE["num_hidden_layers"]) -> None:
    """Make base_model/random-llama-7b: LLaMA-7B's shape, random fp16 weights.

    Args:
        tokenizer: LLaMA's tokenizer, as a Hugging Face folder or a GGUF file; without it a byte-level BPE is trained on
            rec_data/movie/train.json, whose rows have as many tokens as with LLaMA's
        seed: of the weights
        layers: fewer than LLaMA-7B's 32 make a smaller model, named after their number
    """
    prepare(tokenizer, seed, layers)


def prepare(tokenizer: str | None, seed: int, layers: int, width: int = SHAPE["hidden_size"],
            device: str = "cpu") -> Path:
    """The model's folder, made where it is not there; InputError where it cannot be made.

    device: where the weights are drawn; another device draws others.
    """
    samples.check_seed(seed)
    if not 1 <= layers <= 1000:
        raise InputError(f"--layers {layers}: must be at least 1 and at most 1000")
    shape = {**SHAPE, "num_hidden_layers": layers, "hidden_size": width, "intermediate_size": width * 43 // 16,
             "num_attention_heads": max(width // 128, 1)}
    smaller = {"layers": layers} if layers != SHAPE["num_hidden_layers"] else {}
    smaller |= {"wide": width} if width != SHAPE["hidden_size"] else {}
    folder = paths.home_dir() / "base_model" / "-".join([NAME, *(f"{size}-{name}" for name, size in smaller.items())])
    if not already_made(folder):
        make(folder, shape, tokenizer, seed, device)
    return folder


def already_made(folder: Path) -> bool:
    """Whether the folder exists, which is then validated and named."""
    if folder.exists():
        resolve_base_model(str(folder))
        print(f"{folder}: already here")
    return folder.exists()


def make(folder: Path, shape: dict, tokenizer: str | None, seed: int, device: str = "cpu") -> None:
    """Write the model folder atomically. InputError where the tokenizer or free disk space is missing."""
    loaded = _tokenizer(tokenizer, shape["vocab_size"])
    import torch
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**shape, bos_token_id=loaded.bos_token_id, eos_token_id=loaded.eos_token_id,
                         dtype="float16", architectures=["LlamaForCausalLM"])
    with torch.device("meta"):
        tensors = LlamaForCausalLM(config).half().state_dict()
    shards = split_torch_state_dict_into_shards(tensors, max_shard_size=SHARD_BYTES)
    size = shards.metadata["total_size"]
    random = torch.Generator(device).manual_seed(seed)
    with files.build_directory(folder) as partial:
        if partial is None:
            print(f"{folder}: already made by another process")
            return
        free = shutil.disk_usage(partial).free
        if free < 1.1 * size:
            raise InputError(f"{folder.parent}: not enough disk space ({free / 2**30:.1f} GiB free, the model takes "
                             f"{size / 2**30:.1f}); make room, or set TLREC_HOME")
        for file_name, names in shards.filename_to_tensors.items():
            weights = {name: torch.ones(tensors[name].shape, dtype=torch.float16, device=device) for name in names}
            for weight in weights.values():
                if weight.dim() > 1:  # norms stay 1
                    weight.normal_(0, config.initializer_range, generator=random)
            save_file(weights, partial / file_name, metadata={"format": "pt"})
            print(f"{file_name}: {len(names)} tensors", flush=True)
        index = {"metadata": shards.metadata, "weight_map": shards.tensor_to_filename}
        (partial / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
        config.save_pretrained(partial)
        loaded.save_pretrained(partial)
    print(f"{folder}: made, {size / 2:,.0f} random weights in fp16 (seed {seed})")


def _tokenizer(source: str | None, vocab_size: int):
    """The tokenizer of a folder or GGUF file, of at most `vocab_size` tokens, or one trained on the movie prompts."""
    if not source:
        return _trained(paths.home_dir() / TOKENIZER_DATA, TRAINED_TOKENS)
    path = Path(source)
    if not path.exists():
        raise InputError(f"{source}: no such folder or file; give LLaMA's tokenizer, or none")
    if path.is_dir():
        check_base_files(path)
    try:
        tokenizer = load_tokenizer(path) if path.is_dir() else _of_gguf(path)
    except InputError:
        raise
    except Exception as error:  # the loaders raise many kinds of errors for a bad file
        raise InputError(f"{source}: not readable as a tokenizer ({first_line(error)})") from None
    if len(tokenizer) > vocab_size:
        raise InputError(f"{source}: {len(tokenizer):,} tokens, the model has {vocab_size:,}; give LLaMA's tokenizer, "
                         "or none")
    return tokenizer


def _of_gguf(path: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True,
                                         trust_remote_code=False)


def _trained(path: Path, vocab_size: int):
    """A byte-level BPE tokenizer trained on the prompts of a data file."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    from tlrec.model import prompts

    texts = (prompts.format_prompt(sample) + sample.output for sample in samples.read_samples(path, answers_only=True))
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")

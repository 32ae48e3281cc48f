"""SentencePiece models and LLaMA folders in the layouts that people have, without weights or with random ones."""

import json
from pathlib import Path

from conftest import LLAMA_VOCABULARY, make_rows

TINY = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "rms_norm_eps": 1e-6,
    "hidden_act": "silu", "initializer_range": 0.02, "torch_dtype": "float16", "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": 0, "max_position_embeddings": 2048, "tie_word_embeddings": False, "use_cache": True,
}


def write_tokenizer_model(path: Path) -> int:
    """LLaMA's own tokenizer.model where its pieces are at hand, else one trained here; returns the number of pieces."""
    if LLAMA_VOCABULARY.is_file():
        return _write_llamas(path)
    import sentencepiece

    texts = [value for sample in make_rows(400, 5)[0] for value in sample.values()]
    texts += ["### Instruction:", "### Input:", "### Response:", "Yes.", "No."] * 50
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_prefix=str(path.with_suffix("")), model_type="bpe", vocab_size=600,
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2)
    path.with_suffix(".vocab").unlink()
    return 600


def _write_llamas(path: Path) -> int:
    import gguf

    fields = gguf.GGUFReader(LLAMA_VOCABULARY).fields
    columns = [fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "scores", "token_type")]
    return _write_pieces(path, *columns)


def write_made_pieces(path: Path, ids: dict[str, int]) -> int:
    """A model of as many pieces as LLaMA's, where the words have these ids; all other text falls back to bytes."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = ["<unk>", "<s>", "</s>", *bytes_, "▁", *(f"no piece {number}" for number in range(260, 32_000))]
    for word, number in ids.items():
        pieces[number] = word
    kinds = [2, 3, 3] + [6] * 256 + [1] * (32_000 - 259)
    return _write_pieces(path, pieces, [-float(number) for number in range(32_000)], kinds)


def _write_pieces(path: Path, pieces: list[str], scores: list[float], kinds: list[int]) -> int:
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    for piece, score, kind in zip(pieces, scores, kinds, strict=True):
        model.pieces.add(piece=piece, score=score, type=kind)
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type, trainer.byte_fallback = sentencepiece_model_pb2.TrainerSpec.BPE, True
    trainer.unk_id, trainer.bos_id, trainer.eos_id, trainer.pad_id = 0, 1, 2, -1
    normalizer.name, normalizer.add_dummy_prefix = "identity", True
    normalizer.remove_extra_whitespaces = False
    path.write_bytes(model.SerializeToString())
    return len(model.pieces)


def _token(content: str) -> dict:
    return {"__type": "AddedToken", "content": content, "lstrip": False, "normalized": True, "rstrip": False,
            "single_word": False}


SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
TOKENIZER_CONFIGS = {
    "yahma": {name: _token(text) for name, text in SPECIAL.items()} | {
        "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False, "pad_token": None,
        "model_max_length": 2048, "sp_model_kwargs": {}, "tokenizer_class": "LlamaTokenizer"},
    "huggyllama": SPECIAL | {"add_bos_token": True, "model_max_length": 2048, "tokenizer_class": "LlamaTokenizer"},
    "decapoda": dict.fromkeys(SPECIAL, "") | {"model_max_length": 1e30, "tokenizer_class": "LLaMATokenizer"},
    "model file alone": None,
}


def write_layout(name: str, folder: Path) -> Path:
    """A two-layer LLaMA with random weights in the layout of a well-known conversion."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True)
    pieces = write_tokenizer_model(folder / "tokenizer.model")
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**TINY, vocab_size=pieces)).save_pretrained(folder)
    config = TINY | {"vocab_size": pieces}
    if name == "decapoda":
        config |= {"architectures": ["LLaMAForCausalLM"], "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": -1,
                   "max_sequence_length": 2048}
        del config["max_position_embeddings"]
    (folder / "config.json").write_text(json.dumps(config))
    if TOKENIZER_CONFIGS[name]:
        (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIGS[name]))
    if name == "huggyllama":
        from tlrec.model.load_tokenizer import load_tokenizer

        load_tokenizer(folder).backend_tokenizer.save(str(folder / "tokenizer.json"))
    return folder

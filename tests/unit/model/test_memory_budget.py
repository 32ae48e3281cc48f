"""The choices by memory, with LLaMA-7B's figures: 12.6 GiB of weights in fp16, 6.6 GiB in 8-bit."""

import pytest
from transformers import AutoConfig, GPT2Config, LlamaConfig

from tlrec.model.memory_budget import ModelShape, largest_divisor, scoring_tokens, tuning_pass

LLAMA_7B = ModelShape(32, 4096, 11008)
LONGEST = 290  # tokens, of the movie rows
GIB = 1 << 30


@pytest.mark.parametrize(("card", "weights", "micro_batch", "checkpointing"), [
    (23.5, 6.6, 4, False),  # 24 GB, 8-bit
    (23.5, 12.6, 4, False),  # 24 GB, fp16
    (15.5, 6.6, 32, True),  # 16 GB: fewer than 1,024 tokens fit without
    (15.5, 12.6, 8, True),
    (47.5, 6.6, 16, False),
    (79.0, 12.6, 32, False),
    (79.0, 6.6, 32, False),
    (139.8, 12.6, 64, False),
])
def test_tuning_pass_of_llama_7b(card, weights, micro_batch, checkpointing):
    free = int((card - 0.6 - weights) * GIB)  # 0.6: CUDA's own
    assert tuning_pass(free, LLAMA_7B, 2, LONGEST, 128) == (micro_batch, checkpointing)


def test_tuning_pass_stays_within_memory_and_follows_flags():
    for free in (2, 6, 16, 40, 66, 126):
        for checkpointing in (False, True):
            rows, chosen = tuning_pass(free * GIB, LLAMA_7B, 2, LONGEST, 128, checkpointing)
            values = 32 * 4096 + 101_376 if checkpointing else 32 * 101_376
            assert chosen is checkpointing and (rows == 1 or 2 * values * rows * LONGEST < free * GIB)
    assert tuning_pass(80 * GIB, LLAMA_7B, 2, LONGEST, 128, False).micro_batch > (
        tuning_pass(80 * GIB, LLAMA_7B, 2, 2048, 128, False).micro_batch)
    assert tuning_pass(0, LLAMA_7B, 2, LONGEST, 128) == (1, True)
    assert tuning_pass(126 * GIB, ModelShape(30, 576, 1536), 2, LONGEST, 128) == (128, False)  # SmolLM2-135M
    assert tuning_pass(2 * GIB, ModelShape(30, 576, 1536), 2, 30, 16) == (16, False)  # a whole batch of few tokens


def test_scoring_tokens_of_llama_7b():
    assert scoring_tokens(16 * GIB, LLAMA_7B, 2) == scoring_tokens(126 * GIB, LLAMA_7B, 2) == 16_384
    assert scoring_tokens(2 * GIB, LLAMA_7B, 2) == 5_805 and scoring_tokens(0, LLAMA_7B, 2) == 1


def test_shapes_come_from_the_config():
    assert ModelShape.of(LlamaConfig(num_hidden_layers=32)) == LLAMA_7B
    assert ModelShape.of(GPT2Config()) == (12, 768, 3072)


def test_largest_divisor():
    assert [largest_divisor(12, most) for most in (0, 1, 5, 11, 99)] == [1, 1, 4, 6, 12]


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3", "gemma3n_text", "gpt2", "opt", "mistral", "gpt_neox"])
def test_shape_of_the_architectures_configs(name):
    shape = ModelShape.of(AutoConfig.for_model(name))
    assert all(isinstance(value, int) and value > 0 for value in shape)

"""How many tokens fit into one pass: from a GPU's free memory and the model's shape. Arithmetic; no torch."""

from typing import NamedTuple

SCORING_TOKENS = 16_384  # 64 prompts of 250 tokens, the most that was measured; fewer where memory is short
EFFICIENT_TOKENS = 1024  # from here on a pass without checkpointing costs less than a longer one with it
RESERVE = 1 << 30  # bytes for what a step needs beside activations: gradients, dequantised weights, workspaces
USABLE = 0.9  # of the free memory; the rest is lost to fragments


class ModelShape(NamedTuple):
    layers: int
    width: int
    feed_forward: int

    @classmethod
    def of(cls, config) -> "ModelShape":
        """The shape in a transformers config; of one with several parts, as Gemma 3's, that of its decoder.

        intermediate_size: a list where it differs by layer (the largest counts); missing in older architectures.
        """
        text = config.get_text_config(decoder=True)
        sizes = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
        return cls(text.num_hidden_layers, text.hidden_size, max(sizes) if isinstance(sizes, list) else sizes)


class TuningPass(NamedTuple):
    micro_batch: int
    gradient_checkpointing: bool


def scoring_tokens(free: int, shape: ModelShape, value_bytes: int) -> int:
    """Tokens of a forward pass without gradients. free: bytes; value_bytes: of an activation (2 in 16 bits)."""
    token = value_bytes * (10 * shape.width + 3 * shape.feed_forward)  # those of one layer are alive
    return max(min(_usable(free) // token, SCORING_TOKENS), 1)


def tuning_pass(free: int, shape: ModelShape, value_bytes: int, longest: int, batch: int,
                gradient_checkpointing: bool | None = None) -> TuningPass:
    """The largest micro-batch that divides `batch` and fits with the longest row, in tokens.

    Without gradient checkpointing where that leaves an efficient pass or a whole batch, unless the flag is given. For
    LLaMA-7B in fp16 a token's activations are estimated at 6.5 MB.
    """
    layer = 14 * shape.width + 4 * shape.feed_forward
    passes = []
    for checkpointing in (False, True) if gradient_checkpointing is None else (gradient_checkpointing,):
        values = shape.layers * shape.width + layer if checkpointing else shape.layers * layer
        rows = _usable(free) // (value_bytes * values * longest)
        passes.append(TuningPass(largest_divisor(batch, rows), checkpointing))
    plain = passes[0]
    return plain if plain.micro_batch == batch or plain.micro_batch * longest >= EFFICIENT_TOKENS else passes[-1]


def largest_divisor(batch: int, most: int) -> int:
    """The largest divisor of `batch` that is at most `most`; 1 where none is."""
    return max((rows for rows in range(1, min(batch, most) + 1) if batch % rows == 0), default=1)


def _usable(free: int) -> int:
    return max(int(USABLE * free) - RESERVE, 0)

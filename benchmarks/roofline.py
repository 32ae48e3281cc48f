"""Roofline estimates for LLaMA-7B on one GPU, from FLOPs and bytes alone. Arithmetic, not a measurement.

    python -m benchmarks.roofline

A forward pass takes 2 FLOPs per weight and token, a backward pass to the activations (the weights are frozen) as many
again, gradient checkpointing a second forward pass. Attention adds 4 x width x context per layer and token. The shared
prompt prefix counts once per pass, as in tlrec.model.scoring and tlrec.training.loss.
"""

from typing import NamedTuple

from base_model import random_llama
from tlrec import cli
from tlrec.reports.table_formats import markdown


class Shape(NamedTuple):
    """What the cost of a model of LLaMA's architecture depends on. key_values: width of keys, and of values."""

    width: int
    feed_forward: int
    layers: int
    vocabulary: int
    key_values: int

    @classmethod
    def of(cls, config: dict) -> "Shape":
        """Of a config.json."""
        width, heads = config["hidden_size"], config["num_attention_heads"]
        key_values = width // heads * config.get("num_key_value_heads", heads)
        return cls(width, config["intermediate_size"], config["num_hidden_layers"], config["vocab_size"], key_values)

    @property
    def layer_weights(self) -> int:
        return self.layers * self.width * (2 * self.width + 2 * self.key_values + 3 * self.feed_forward)


LLAMA_7B = Shape.of(random_llama.SHAPE)
WIDTH, FEED_FORWARD, LAYERS, VOCABULARY = LLAMA_7B[:4]
LAYER_WEIGHTS = LLAMA_7B.layer_weights
WEIGHTS = LAYER_WEIGHTS + 2 * VOCABULARY * WIDTH + (2 * LAYERS + 1) * WIDTH
LORA = LAYERS * 2 * 2 * 8 * WIDTH  # rank 8 on q_proj and v_proj
UTILISATION = 0.4  # of the peak FLOP/s; between 0.3 and 0.5 is usual for this size


class Gpu(NamedTuple):
    name: str
    memory: int  # GB
    peak: float  # dense fp16/bf16 FLOP/s with fp32 accumulation, by the vendor
    bandwidth: float  # bytes/s, by the vendor


class Stage(NamedTuple):
    """passes: 1 to score, 2 to tune, 3 to tune with checkpointing. prefix: tokens of the shared prompt prefix."""

    name: str
    rows: int
    tokens: float  # of a row, mean
    prefix: int
    passes: int
    batch: int  # rows per pass
    generated: int = 0  # tokens after the first one, one pass each


GPUS = (Gpu("RTX 4090, 24 GB", 24, 165e12, 1.008e12), Gpu("A100, 80 GB", 80, 312e12, 2.039e12))
PREFIX = 90  # tokens of the prompt prefix of movie/test, with LLaMA's tokenizer
# tokens: what rec_data.dataset_report prints with LLaMA's tokenizer
STAGES = (
    Stage("score movie/test", 1000, 250, PREFIX, 1, 16),
    Stage("the same, 128 tokens generated in batches of 16 (published, untuned)", 1000, 250, 0, 1, 16, generated=127),
    Stage("rec-tuning, 64 shots x 30 epochs", 64 * 30, 252, 0, 2, 32),
    Stage("CoT tuning, 2,308 samples x 3 epochs", 2308 * 3, 906, 0, 2, 2),
    Stage("source tuning, 8,000 Netflix rows x 3 epochs", 8000 * 3, 254, 0, 2, 32),
    Stage("the same with checkpointing (as published)", 8000 * 3, 254, 0, 3, 32),
    Stage("its validation, 18 times 1,000 rows", 18 * 1000, 256, PREFIX, 1, 16),
)


def flops(stage: Stage, shape: Shape = LLAMA_7B) -> float:
    """FLOPs of a stage: layers, attention, and the LM head at the last position (scoring) or at all positions.

    Checkpointing recomputes the layers, not the LM head.
    """
    tokens = stage.tokens - stage.prefix + stage.prefix / stage.batch
    per_token = 2 * shape.layer_weights + 4 * shape.width * (stage.tokens / 2) * shape.layers
    head = 2 * shape.vocabulary * shape.width * (1 if stage.passes == 1 else tokens)
    return stage.rows * (stage.passes * tokens * per_token + min(stage.passes, 2) * head) + sum(_generated(stage))


def _generated(stage: Stage) -> list[float]:
    """FLOPs of each pass that generates one token for every row, over all batches."""
    contexts = (stage.tokens + token for token in range(stage.generated))
    return [stage.rows * (2 * (LAYER_WEIGHTS + VOCABULARY * WIDTH) + 4 * WIDTH * context * LAYERS)
            for context in contexts]


def seconds(stage: Stage, gpu: Gpu) -> float:
    """Compute-bound seconds; a generated token is bound by reading all weights (fp16) once per batch, where longer."""
    generated = _generated(stage)
    reading = stage.rows / stage.batch * 2 * WEIGHTS / gpu.bandwidth
    computing = (flops(stage) - sum(generated)) / (UTILISATION * gpu.peak)
    return computing + sum(max(passes / (UTILISATION * gpu.peak), reading) for passes in generated)


def weight_bytes_in_8bit(other: int) -> int:
    """Bytes of the weights where the layers' matrices are 8-bit and each other weight takes `other` bytes."""
    return LAYER_WEIGHTS + other * (WEIGHTS - LAYER_WEIGHTS)


def main() -> None:
    """Print the tables."""
    row = LAYERS * 254 * 2  # bytes of one value per token and layer, in fp16, for a row of 254 tokens
    activations = 10 * WIDTH + 3 * FEED_FORWARD  # values per token and layer that a backward pass needs, about
    print(f"LLaMA-7B: {WEIGHTS:,} weights, {LAYER_WEIGHTS:,} of them in its layers; LoRA {LORA:,}.\n")
    print(f"A token's forward pass: 2 x {LAYER_WEIGHTS:,} = {2 * LAYER_WEIGHTS / 1e9:.2f} GFLOP, and at a context of "
          f"128 4 x {WIDTH} x 128 x {LAYERS} = {4 * WIDTH * 128 * LAYERS / 1e9:.2f} for attention.\n")
    print(f"Memory: weights {2 * WEIGHTS / 1e9:.1f} GB in fp16; in 8-bit {weight_bytes_in_8bit(2) / 1e9:.1f} GB, with "
          f"embedding and LM head in fp16, or {weight_bytes_in_8bit(4) / 1e9:.1f} GB to tune as published, where peft's"
          " prepare_model_for_kbit_training makes them fp32; LoRA, its gradient and Adam's two averages, fp32: 16 x "
          f"{LORA:,} = {16 * LORA / 1e9:.2f} GB. Activations of 32 rows of 254 tokens: with checkpointing {LAYERS} x "
          f"32 x 254 x {WIDTH} x 2 bytes = {32 * row * WIDTH / 1e9:.1f} GB; without it about "
          f"{32 * row * activations / 1e9:.0f} GB (10 vectors of the width and 3 of the feed-forward layer a token and "
          f"layer), {4 * row * activations / 1e9:.1f} GB with --micro_batch_size 4.\n")
    rows = [[stage.name, f"{flops(stage) / 1e12:,.0f}", *(f"{seconds(stage, gpu) / 60:.1f}" for gpu in GPUS)]
            for stage in STAGES]
    print(markdown([["stage", "TFLOP", *(f"{gpu.name}: minutes" for gpu in GPUS)], *rows]))
    print(f"\nAt {UTILISATION:.0%} of the vendors' peaks, fp16. LLM.int8() converts in every layer and is slower. "
          "Tuning shares no prompt prefix on CUDA; checkpointing is on where few rows fit without it.")


if __name__ == "__main__":
    cli.run(main)

"""What LLaMA-7B should take on one GPU, from FLOPs and bytes alone. Arithmetic, not a measurement.

    python -m benchmarks.roofline

A forward pass takes 2 FLOPs a weight and token, a backward pass to the activations (the weights are frozen) as many
again, checkpointing a second forward pass. Attention adds 4 x width x context per layer and token. What all prompts
begin with counts once a pass, as in tlrec.scoring and tlrec.loss.
"""

from typing import NamedTuple

from tlrec import cli
from tlrec.reports.tables import markdown

WIDTH, FEED_FORWARD, LAYERS, VOCABULARY = 4096, 11_008, 32, 32_000  # LLaMA-7B
LAYER_WEIGHTS = LAYERS * (4 * WIDTH**2 + 3 * WIDTH * FEED_FORWARD)
WEIGHTS = LAYER_WEIGHTS + 2 * VOCABULARY * WIDTH + (2 * LAYERS + 1) * WIDTH
LORA = LAYERS * 2 * 2 * 8 * WIDTH  # rank 8 on q_proj and v_proj
SHARE = 0.4  # of the peak that a pass reaches; between 0.3 and 0.5 is usual for this size


class Gpu(NamedTuple):
    name: str
    memory: int  # GB
    peak: float  # dense fp16/bf16 FLOP/s with fp32 accumulation, by the maker
    bandwidth: float  # bytes/s, by the maker


class Stage(NamedTuple):
    """passes: 1 scores, 2 tunes, 3 tunes with checkpointing. shared: tokens that all rows begin with."""

    name: str
    rows: int
    tokens: int  # of a row, mean
    shared: int
    passes: int
    together: int  # rows of a pass
    generated: int = 0  # tokens after the first one, each with the batch in a pass of its own


GPUS = (Gpu("RTX 4090, 24 GB", 24, 165e12, 1.008e12), Gpu("A100, 80 GB", 80, 312e12, 2.039e12))
SHARED = 90  # tokens that all prompts of movie/test begin with, under LLaMA's tokenizer
# tokens: what rec_data.dataset_report prints with LLaMA's tokenizer
STAGES = (
    Stage("score movie/test", 1000, 250, SHARED, 1, 16),
    Stage("the same, 128 tokens generated in batches of 16 (published, untuned)", 1000, 250, 0, 1, 16, generated=127),
    Stage("rec-tuning, 64 shots x 30 epochs, --micro_batch_size 4", 64 * 30, 252, SHARED, 2, 4),
    Stage("CoT tuning, 2,308 samples x 3 epochs", 2308 * 3, 906, 0, 2, 2),
    Stage("source tuning, 8,000 Netflix rows x 3 epochs, --micro_batch_size 4", 8000 * 3, 254, SHARED, 2, 4),
    Stage("the same with checkpointing, nothing shared (as published, and the default on CUDA)", 8000 * 3, 254, 0, 3,
          32),
    Stage("its validation, 18 times 1,000 rows", 18 * 1000, 256, SHARED, 1, 16),
)


def flops(stage: Stage) -> float:
    """Of the whole stage: layers, attention, and the output layer at the last position (scoring) or at all of them.

    Checkpointing runs the layers again, not the output layer.
    """
    tokens = stage.tokens - stage.shared + stage.shared / stage.together
    a_token = 2 * LAYER_WEIGHTS + 4 * WIDTH * (stage.tokens / 2) * LAYERS
    output = 2 * VOCABULARY * WIDTH * (1 if stage.passes == 1 else tokens)
    return stage.rows * (stage.passes * tokens * a_token + min(stage.passes, 2) * output) + sum(_generated(stage))


def _generated(stage: Stage) -> list[float]:
    """FLOPs of each pass that adds one token to every row of a batch, over all batches."""
    contexts = (stage.tokens + token for token in range(stage.generated))
    return [stage.rows * (2 * (LAYER_WEIGHTS + VOCABULARY * WIDTH) + 4 * WIDTH * context * LAYERS)
            for context in contexts]


def seconds(stage: Stage, gpu: Gpu) -> float:
    """Computing; a generated token takes the reading of all weights (fp16), once a batch, where that is longer."""
    generated = _generated(stage)
    reading = stage.rows / stage.together * 2 * WEIGHTS / gpu.bandwidth
    computing = (flops(stage) - sum(generated)) / (SHARE * gpu.peak)
    return computing + sum(max(passes / (SHARE * gpu.peak), reading) for passes in generated)


def main() -> None:
    """Print the tables."""
    row = LAYERS * 254 * 2  # bytes of one value a token and layer, in fp16, for a row of 254 tokens
    kept = 10 * WIDTH + 3 * FEED_FORWARD  # values a token and layer that a backward pass needs, about
    print(f"LLaMA-7B: {WEIGHTS:,} weights, {LAYER_WEIGHTS:,} of them in its layers; LoRA {LORA:,}.\n")
    print(f"A token's forward pass: 2 x {LAYER_WEIGHTS:,} = {2 * LAYER_WEIGHTS / 1e9:.2f} GFLOP, and at a context of "
          f"128 4 x {WIDTH} x 128 x {LAYERS} = {4 * WIDTH * 128 * LAYERS / 1e9:.2f} for attention.\n")
    print(f"Memory: weights {2 * WEIGHTS / 1e9:.1f} GB in fp16, {(LAYER_WEIGHTS + 4 * VOCABULARY * WIDTH) / 1e9:.1f} "
          "GB in 8-bit (embedding and output layer stay fp16); LoRA, its gradient and Adam's two averages, fp32: 16 x "
          f"{LORA:,} = {16 * LORA / 1e9:.2f} GB. Activations of 32 rows of 254 tokens: with checkpointing {LAYERS} x "
          f"32 x 254 x {WIDTH} x 2 bytes = {32 * row * WIDTH / 1e9:.1f} GB; without it about "
          f"{32 * row * kept / 1e9:.0f} GB (10 vectors of the width and 3 of the feed-forward layer a token and "
          f"layer), {4 * row * kept / 1e9:.1f} GB with --micro_batch_size 4.\n")
    rows = [[stage.name, f"{flops(stage) / 1e12:,.0f}", *(f"{seconds(stage, gpu) / 60:.1f}" for gpu in GPUS)]
            for stage in STAGES]
    print(markdown([["stage", "TFLOP", *(f"{gpu.name}: minutes" for gpu in GPUS)], *rows]))
    print(f"\nAt {SHARE:.0%} of the makers' peaks, fp16. LLM.int8() converts in every layer and is slower, by a factor "
          "that was not measured here. The rows on tuning without checkpointing need --gradient_checkpointing False: "
          "on CUDA in 8-bit it is on, as published, and then nothing is shared.")


if __name__ == "__main__":
    cli.run(main)

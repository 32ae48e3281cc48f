"""The ceiling that speed tables compare with: FLOP/s of a matrix product by torch on this machine."""

import time

from benchmarks import harness


def worker(dtype: str) -> None:
    """Measure products of 2,048 x 2,048 as one of the workers."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    harness.serve(lambda: {"flops_a_second": product_speed(dtype, device, 2048)})


def product_speed(dtype: str, device: str, size: int) -> float:
    """FLOP/s of matrix products of size x size, measured for a second."""
    import torch

    first, second = (torch.randn(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
    torch.mm(first, second)[0, 0].item()
    start, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < 1:
        torch.mm(first, second)[0, 0].item()  # waits for a GPU
        done += 1
    return 2 * size**3 * done / spent

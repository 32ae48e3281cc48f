"""Processes of one run, started by `torchrun` or `accelerate launch`; a single one without a launcher.

The main process (rank 0) prints and writes; all of them compute.
"""

import atexit
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from tlrec.errors import InputError

Value = TypeVar("Value")


def rank() -> int:
    return _number("RANK", 0)


def world_size() -> int:
    return _number("WORLD_SIZE", 1)


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise InputError(f"environment variable {name}={text} is not a number; unset it")
    return int(text)


def is_main_process() -> bool:
    return rank() == 0


def is_sharded() -> bool:
    """Whether `accelerate launch` was asked to shard the weights over the processes (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def init() -> None:
    """Initialise the process group (gloo on a CPU, NCCL on CUDA); nothing to do for a single process."""
    if world_size() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())
        atexit.register(_destroy_group)  # a process that ends while the group's threads run may abort


def _destroy_group() -> None:
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def barrier() -> None:
    """Wait until every process has reached this call."""
    if world_size() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def gather(values: Iterable) -> list:
    """The values of all processes in the order of their ranks, returned in each of them."""
    if world_size() == 1:
        return list(values)
    from accelerate.utils import gather_object

    return gather_object(list(values))


def broadcast_from_main(function: Callable[[], Value]) -> Value:
    """The function's value in the main process, returned in all: each might see another state of a shared file."""
    return gather([function() if is_main_process() else None])[0]


def shard(items: Sequence) -> Iterator[tuple]:
    """(item, whether it counts) for this process: every world_size()-th item, from its rank on.

    All processes get equally many, as a model with sharded weights needs; padding repeats the last item and does not
    count.
    """
    for number in range(rank(), -(-len(items) // world_size()) * world_size(), world_size()):
        yield items[min(number, len(items) - 1)], number < len(items)

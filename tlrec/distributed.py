"""The processes that `torchrun` or `accelerate launch` started: one alone when there was no launcher.

The first process prints and writes; all of them compute.
"""

import atexit
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from tlrec.errors import InputError

Answer = TypeVar("Answer")


def rank() -> int:
    return _number("RANK", 0)


def world_size() -> int:
    return _number("WORLD_SIZE", 1)


def local_rank() -> int:
    return _number("LOCAL_RANK", 0)


def _number(name: str, alone: int) -> int:
    said = os.environ.get(name, str(alone))
    if not said.isdecimal():
        raise InputError(f"the environment says {name}={said}, which no launcher does; unset it")
    return int(said)


def is_main_process() -> bool:
    return rank() == 0


def is_sharded() -> bool:
    """Whether `accelerate launch` was asked to spread the weights over the processes (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def init() -> None:
    """Meet the other processes (gloo on a CPU, NCCL on CUDA); nothing to do for one alone."""
    if world_size() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())
        atexit.register(_leave)  # a process that ends while the group's threads run may abort


def _leave() -> None:
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def barrier() -> None:
    """Until every process has come here."""
    if world_size() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def gather(values: Iterable) -> list:
    """The values of all processes, in the order of their ranks, for each of them."""
    if world_size() == 1:
        return list(values)
    from accelerate.utils import gather_object

    return gather_object(list(values))


def broadcast_from_main(ask: Callable[[], Answer]) -> Answer:
    """What the first process finds, for all of them: of a file that is being written each might see something else."""
    return gather([ask() if is_main_process() else None])[0]


def max_over_processes(value: int) -> int:
    """The largest of the processes' values."""
    return max(gather([value])) if world_size() > 1 else value


def shard(items: Sequence) -> Iterator[tuple]:
    """(item, whether it counts) for this process: every count()-th item. Each process gets as many, so that a model
    whose weights are spread over them can compute; what does not count is a repetition."""
    for number in range(rank(), -(-len(items) // world_size()) * world_size(), world_size()):
        yield items[min(number, len(items) - 1)], number < len(items)

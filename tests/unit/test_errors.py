"""Errors of other libraries, and texts in messages."""

import pytest
import torch

from tlrec.errors import is_out_of_memory


@pytest.mark.parametrize("error", [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), MemoryError(),
    RuntimeError("CUDA error: out of memory"), RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")])
def test_out_of_memory_by_every_allocator(error):
    assert is_out_of_memory(error)


def test_other_cuda_errors_are_not_out_of_memory():
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))

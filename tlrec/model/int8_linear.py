"""Weight-only 8-bit: bitsandbytes' int8 weights, dequantised for an ordinary matrix product."""

from typing import Any

import torch
from bitsandbytes.nn import Linear8bitLt
from torch import Tensor
from torch.nn import functional


class _DequantizedProduct(torch.autograd.Function):
    """`x @ weight.T + bias` for a frozen int8 weight; the weight is dequantised again in the backward pass.

    bitsandbytes' MatMul8bitFp gives the same numbers but keeps every layer's input, which LoRA needs in few of them.
    """

    @staticmethod
    def forward(ctx, x: Tensor, int8: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
        """x (..., inputs), int8 (outputs, inputs), scales (outputs,) in fp32 -> (..., outputs)."""
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        ctx.save_for_backward(int8, scales)
        ctx.dtype = x.dtype
        return functional.linear(x.to(dtype), dequantize(int8, scales, dtype), None if bias is None else bias.to(dtype))

    @staticmethod
    def backward(ctx, grad: Tensor):
        int8, scales = ctx.saved_tensors
        return (grad @ dequantize(int8, scales, grad.dtype)).to(ctx.dtype), None, None, None


def dequantize(int8: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """int8 rows times their scales / 127, in one pass over memory."""
    return torch.mul(int8, scales[:, None] * (1 / 127), out=torch.empty_like(int8, dtype=dtype))


class WeightOnlyLinear(Linear8bitLt):
    """A loaded Linear8bitLt (peft wraps it as one) whose activations stay as they are."""

    weight: Any  # bitsandbytes' Int8Params

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.CB is not None:
            self.init_8bit_state()
        return _DequantizedProduct.apply(x, self.state.CB, self.state.SCB, self.bias)


def use_weight_only(model) -> None:
    """Let every 8-bit layer of a loaded model compute with dequantised weights instead of LLM.int8()."""
    for layer in model.modules():
        if type(layer) is Linear8bitLt:
            layer.__class__ = WeightOnlyLinear

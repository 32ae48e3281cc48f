"""Weight-only 8-bit: the numbers of bitsandbytes' own product, and of a model that holds the dequantised weights."""

import gc

import pytest
import torch
from bitsandbytes.autograd._functions import MatMul8bitFp
from bitsandbytes.nn import Int8Params, Linear8bitLt
from conftest import refused
from peft import LoraConfig, get_peft_model_state_dict
from torch.autograd.graph import saved_tensors_hooks

from tlrec.model.adapter import attach_adapter, inspect_adapter
from tlrec.model.base_model import load_base_model
from tlrec.model.int8_linear import WeightOnlyLinear, dequantize, use_weight_only
from tlrec.training.loss import LossOptions, label_loss

LORA = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
IDS = torch.arange(5, 45).view(2, 20)


def int8_layer(bias):
    torch.manual_seed(0)
    layer = Linear8bitLt(48, 32, bias=bias, has_fp16_weights=False)
    layer.weight = Int8Params(torch.randn(32, 48), requires_grad=False).to("cpu")
    layer.init_8bit_state()
    return layer


def tuned(folder, dtype="float32", **options):
    model = load_base_model(folder, True, dtype, "cpu", **options)[0]
    torch.manual_seed(3)
    return attach_adapter(model, LORA, None)


def loss_and_gradients(model):
    loss = model.train()(input_ids=IDS, labels=IDS).loss
    loss.backward()
    return loss.item(), {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_product_and_gradient_are_those_of_bitsandbytes(dtype, bias):
    layer = int8_layer(bias)
    x = torch.randn(3, 5, 48, dtype=dtype, requires_grad=True)
    added = layer.bias.to(dtype) if bias else None
    expected = MatMul8bitFp.apply(x, layer.weight, None, added, layer.state)
    expected.pow(2).sum().backward()
    expected_gradient, x.grad = x.grad, None
    use_weight_only(torch.nn.ModuleList([layer]))
    product = layer(x)
    product.pow(2).sum().backward()
    assert torch.equal(product, expected) and torch.equal(x.grad, expected_gradient) and product.dtype == dtype


def test_product_under_autocast_is_in_its_type_and_the_gradient_in_the_inputs():
    """As in fp16 tuning on CUDA, where norms may give fp32."""
    layer = int8_layer(False)
    use_weight_only(torch.nn.ModuleList([layer]))
    x = torch.randn(4, 48, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        product = layer(x)
    product.float().sum().backward()
    weight = dequantize(layer.state.CB, layer.state.SCB, torch.bfloat16)
    assert torch.equal(product, x.detach().bfloat16() @ weight.T) and product.dtype == torch.bfloat16
    torch.testing.assert_close(x.grad, weight.float().sum(0).expand(4, -1), atol=0.1, rtol=0.01)


def test_tuning_equals_that_of_the_dequantised_model(tiny_llama):
    """Loss within 1e-5 and each gradient; LLM.int8, which rounds the activations too, is further off."""
    model = tuned(tiny_llama)
    layers = [layer for layer in model.modules() if isinstance(layer, WeightOnlyLinear)]
    assert len(layers) == 14
    plain = load_base_model(tiny_llama, False, "float32", "cpu")[0]
    for name, layer in model.get_base_model().named_modules():
        if isinstance(layer, WeightOnlyLinear):
            weight = dequantize(layer.weight.CB, layer.weight.SCB, torch.float32)
            plain.get_submodule(name.replace(".base_layer", "")).weight.data.copy_(weight)
    torch.manual_seed(3)
    plain = attach_adapter(plain, LORA, None)
    loss, gradients = loss_and_gradients(model)
    expected, expected_gradients = loss_and_gradients(plain)
    assert loss == pytest.approx(expected, abs=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], atol=1e-5, rtol=1e-3)
    with torch.no_grad():
        exact, published = (m.eval()(input_ids=IDS).logits for m in (plain, tuned(tiny_llama, int8="llm.int8")))
        assert (published - exact).abs().max() > 100 * (model.eval()(input_ids=IDS).logits - exact).abs().max()


def test_tuning_in_bf16_follows_that_in_fp32(tiny_llama):
    """With LoRA's weights in fp32, as the Trainer calls it on a CPU."""
    losses = []
    for dtype in ("float32", "bfloat16"):
        model = tuned(tiny_llama, dtype=dtype)
        inputs = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
        loss = label_loss(model, model, inputs, IDS, LossOptions.of(model))
        loss.backward()
        losses.append(loss.item() / IDS.numel())
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


def test_no_dequantised_weight_outlives_its_product(tiny_llama):
    """Nothing of a weight's size in a float type is kept for the backward pass, nor after the step; int8 stays."""
    model = tuned(tiny_llama)
    shapes = {(64, 64), (32, 64), (128, 64), (64, 128)}
    kept = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        loss = model.train()(input_ids=IDS, labels=IDS).loss
    assert [tensor for tensor in kept if tuple(tensor.shape) in shapes and tensor.is_floating_point()] == []
    assert sum(tensor.dtype == torch.int8 for tensor in kept) == 11  # no gradient goes on below the first q, k and v
    loss.backward()
    kept.clear()
    del loss
    gc.collect()
    floats = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor) and thing.is_floating_point()
              and tuple(thing.shape) in shapes and thing.grad_fn is None and not isinstance(thing, torch.nn.Parameter)]
    assert floats == []
    assert all(layer.weight.dtype == torch.int8 for layer in model.modules() if isinstance(layer, WeightOnlyLinear))


def test_checkpointing_keeps_no_input_of_an_8bit_layer(tiny_llama):
    """bitsandbytes holds each product's input as an attribute, which checkpointing does not drop."""
    def inputs_held(**options):
        model = tuned(tiny_llama, **options)
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
        nodes, visited = [model.train()(input_ids=IDS, labels=IDS).loss.grad_fn], set()
        while nodes:
            node = nodes.pop()
            if node is not None and node not in visited:
                visited.add(node)
                nodes += [following for following, _ in node.next_functions]
        return sum(getattr(node, "A", None) is not None for node in visited)

    assert inputs_held() == 0 and inputs_held(int8="llm.int8") == 14


def test_an_adapter_tuned_one_way_loads_the_other_way(tiny_llama, tmp_path):
    for saved, loaded in (("weight-only", "llm.int8"), ("llm.int8", "weight-only")):
        model = tuned(tiny_llama, int8=saved)
        model.save_pretrained(tmp_path / saved)
        other = attach_adapter(load_base_model(tiny_llama, True, "float32", "cpu", int8=loaded)[0], None,
                               inspect_adapter(tmp_path / saved, tiny_llama))
        weights, expected = get_peft_model_state_dict(other), get_peft_model_state_dict(model)
        assert weights.keys() == expected.keys() and all(torch.equal(weights[name], expected[name]) for name in weights)


def test_merging_an_adapter_into_weight_only_layers(tiny_llama):
    model = tuned(tiny_llama)
    with torch.no_grad():
        before = model.eval()(input_ids=IDS).logits
        after = model.merge_and_unload()(input_ids=IDS).logits
    assert torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1] > 0.99


def test_kinds_of_int8_are_checked(tiny_llama, small_data):
    from tlrec.evaluation.config import EvaluationConfig, resolve

    refused("weight-only, llm.int8", resolve, EvaluationConfig(base_model=str(tiny_llama), int8="int4",
                                                    test_data_path=str(small_data / "rec_data/movie/test.json")))

import pytest
import torch
from peft import LoraConfig
from torch.nn import functional
from transformers import Gemma2Config, Gemma2ForCausalLM, GraniteConfig, GraniteForCausalLM

from tlrec.model.adapter import attach_adapter
from tlrec.model.base_model import load_base_model
from tlrec.model.prompt_encoder import IGNORE_INDEX
from tlrec.training import loss
from tlrec.training.loss import LinearCrossEntropy, LossOptions, label_loss

SIZES = {"vocab_size": 211, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}


def batch():
    """Four rows of 40 tokens that share 20, padded on the left; labels of the last row are its answer alone."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 211, (4, 40), generator=generator)
    ids[:, :20] = ids[0, :20]
    mask = torch.ones_like(ids)
    for row in (1, 3):
        ids[row], mask[row] = ids[row].roll(5 * row), torch.arange(40) >= 5 * row
    labels = torch.where(mask.bool(), ids, IGNORE_INDEX)
    labels[3, :37] = IGNORE_INDEX
    for row in range(4):
        labels[row, int(mask[row].argmax())] = IGNORE_INDEX
    return {"input_ids": ids, "attention_mask": mask}, labels


def plainly(model, inputs, labels):
    """The model's own logits of each row without its padding."""
    total = 0
    for ids, mask, label in zip(inputs["input_ids"], inputs["attention_mask"].bool(), labels, strict=True):
        logits = model(input_ids=ids[mask][None]).logits[0, :-1].float()
        total = total + functional.cross_entropy(logits, label[mask][1:], ignore_index=IGNORE_INDEX, reduction="sum")
    return total


def gradients(model, total):
    model.zero_grad()
    total.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}


def tuned(model):
    torch.manual_seed(3)
    wrapped = attach_adapter(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"), None)
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return wrapped.train()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_label_loss_and_gradients_equal_plain_logits(tiny_llama, monkeypatch, fused, shared):
    monkeypatch.setattr(loss, "CHUNK_LOGITS", 7 * 49_152)  # several chunks, the last one incomplete
    model = tuned(load_base_model(tiny_llama, False, "float32", "cpu")[0])
    assert LossOptions.of(model) == LossOptions(fused=True, prefix=True)
    inputs, labels = batch()
    ours = label_loss(model, model, inputs, labels, LossOptions(fused, shared))
    computed = gradients(model, ours)
    plain = plainly(model, inputs, labels)
    assert ours.item() == pytest.approx(plain.item(), abs=1e-3)  # a sum of over a hundred labels
    for name, gradient in gradients(model, plain).items():
        assert gradient.abs().max() > 0.01
        torch.testing.assert_close(computed[name], gradient, atol=1e-4, rtol=1e-3)


def test_linear_cross_entropy_gradient_scales_with_the_loss():
    """As under a GradScaler, and for each label's own weight."""
    torch.manual_seed(0)
    hidden, weight, targets = torch.randn(9, 8, requires_grad=True), torch.randn(30, 8), torch.randint(0, 30, (9,))
    scale = torch.rand(9) * 1000
    (LinearCrossEntropy.apply(hidden, weight, targets) * scale).sum().backward()
    computed, hidden.grad = hidden.grad, None
    (functional.cross_entropy(hidden @ weight.T, targets, reduction="none") * scale).sum().backward()
    torch.testing.assert_close(computed, hidden.grad, atol=1e-3, rtol=1e-4)  # values reach a thousand


def test_label_loss_without_labels_is_zero(tiny_llama):
    model = tuned(load_base_model(tiny_llama, False, "float32", "cpu")[0])
    inputs, labels = batch()
    total = label_loss(model, model, inputs, torch.full_like(labels, IGNORE_INDEX), LossOptions.of(model))
    assert total.item() == 0
    assert all((gradient == 0).all() for gradient in gradients(model, total).values())


@pytest.mark.parametrize(("kind", "config"), [
    (Gemma2ForCausalLM, Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=5.0, sliding_window=16)),
    (GraniteForCausalLM, GraniteConfig(**SIZES, logits_scaling=7.0)),
])
def test_label_loss_of_models_with_changed_logits(kind, config):
    """Neither the fused loss nor, with sliding windows, a prefix; the plain ways give the model's own loss."""
    torch.manual_seed(0)
    model = tuned(kind(config))
    options = LossOptions.of(model)
    assert not options.fused and options.prefix == (kind is GraniteForCausalLM)
    inputs, labels = batch()
    ours = label_loss(model, model, inputs, labels, options)
    assert ours.item() == pytest.approx(plainly(model, inputs, labels).item(), abs=1e-3)


def test_loss_options_with_gradient_checkpointing_have_no_prefix(tiny_llama):
    model = tuned(load_base_model(tiny_llama, False, "float32", "cpu")[0])
    model.gradient_checkpointing_enable()
    assert LossOptions.of(model) == LossOptions(fused=True, prefix=False)


def test_loss_options_on_a_gpu_have_no_prefix(tiny_llama, monkeypatch):
    """Two passes cost it more in launches than they save."""
    model = tuned(load_base_model(tiny_llama, False, "float32", "cpu")[0])
    monkeypatch.setattr(type(model.get_base_model()), "device", torch.device("cuda"))
    assert model.device.type == "cuda" and not LossOptions.of(model).prefix

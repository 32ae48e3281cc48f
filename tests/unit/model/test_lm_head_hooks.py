from tlrec.model import lm_head_hooks
from tlrec.model.base_model import load_base_model


def test_is_plain_linear_false_for_a_trained_or_hooked_lm_head(tiny_llama):
    model, _ = load_base_model(tiny_llama, False, "float32", "cpu")
    assert not lm_head_hooks.is_plain_linear(model)  # its weights are not frozen yet
    model.requires_grad_(False)
    assert lm_head_hooks.is_plain_linear(model)
    model.lm_head.forward = model.lm_head.forward
    assert not lm_head_hooks.is_plain_linear(model)

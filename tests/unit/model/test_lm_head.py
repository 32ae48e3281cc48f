from tlrec.model import lm_head
from tlrec.model.base import load_base_model


def test_a_tuned_or_hooked_output_layer_is_not_plain(tiny_llama):
    model, _ = load_base_model(tiny_llama, False, "float32", "cpu")
    assert not lm_head.is_plain_linear(model)  # its weights are not frozen yet
    model.requires_grad_(False)
    assert lm_head.is_plain_linear(model)
    model.lm_head.forward = model.lm_head.forward
    assert not lm_head.is_plain_linear(model)

import numpy as np
import pytest
import torch
from conftest import make_rows, refused
from peft import LoraConfig
from transformers import MistralConfig, MistralForCausalLM, Phi3Config, Phi3ForCausalLM

from tlrec.data.samples import Sample
from tlrec.model import prefix_cache, scoring
from tlrec.model.adapter import attach_adapter
from tlrec.model.base_model import load_base_model
from tlrec.model.prompt_encoder import Encoder


@pytest.fixture(scope="module")
def loaded(tiny_llama):
    model, tokenizer = load_base_model(tiny_llama, False, "float32", "cpu")
    return model, Encoder(tokenizer)


def rows(count):
    return [Sample(**sample) for sample in make_rows(count, 9)[0]]


def test_scores_equal_one_plain_forward_pass_per_prompt(loaded):
    model, encoder = loaded
    samples = rows(11)
    scores = scoring.score(model, encoder, samples, batch_size=4)
    yes, no = encoder.answer_token_ids
    for number, sample in enumerate(samples):
        with torch.no_grad():
            logits = model(torch.tensor([encoder.encode_prompt(sample)])).logits[0, -1].double()
        assert scores.logit_yes[number] == pytest.approx(logits[yes].item(), abs=1e-4)
        assert scores.p_yes[number] == pytest.approx(logits[[no, yes]].softmax(0)[1].item(), abs=1e-5)
        twice = logits.softmax(0)[[no, yes]].softmax(0)[1].item()
        assert scores.p_yes_published[number] == pytest.approx(twice, abs=1e-6)
    assert np.ptp(scores.p_yes) > 0.01  # a random model that answers everything alike would prove nothing


def test_score_reads_the_answer_position_of_tuning(loaded):
    """The logits that scoring reads are those that predict the answer's first token in a tuning sample."""
    model, encoder = loaded
    (sample,) = rows(1)
    encoded = encoder.encode(sample)
    with torch.no_grad():
        logits = model(torch.tensor([encoded.ids])).logits[0, encoded.answer_start - 1]
    scores = scoring.score(model, encoder, [sample])
    assert scores.logit_yes[0] == pytest.approx(logits[encoder.answer_token_ids.yes].item(), abs=1e-4)


def test_scores_do_not_depend_on_batch_size_and_order(loaded):
    model, encoder = loaded
    samples = rows(9)
    alone = scoring.score(model, encoder, samples, batch_size=1)
    together = scoring.score(model, encoder, samples[::-1], batch_size=9)
    np.testing.assert_allclose(alone.p_yes, together.p_yes[::-1], atol=1e-6)


def test_score_refuses_a_prompt_longer_than_the_model_reads(loaded):
    model, encoder = loaded
    refused("sample 1", scoring.score, model, encoder, [rows(1)[0], Sample("i", "title " * 3000, "Yes.")])


def test_score_refuses_nan_logits(loaded, tiny_llama):
    model, tokenizer = load_base_model(tiny_llama, False, "float32", "cpu")
    model.lm_head.weight.data.fill_(float("nan"))
    message = refused("NaN", scoring.score, model, Encoder(tokenizer), rows(2))
    assert message.find("--dtype bfloat16") < message.find("float32")


def plainly(model, encoder, samples):
    yes, no = encoder.answer_token_ids
    with torch.no_grad():
        logits = [model(torch.tensor([encoder.encode_prompt(sample)])).logits[0, -1].double() for sample in samples]
    return np.array([row[[no, yes]].softmax(0)[1].item() for row in logits])


def test_score_computes_the_shared_prefix_once(loaded):
    """The instruction runs through the model one time, whatever the number of batches, and the numbers stay."""
    model, encoder = loaded
    samples, widths = rows(10), []
    length = prefix_cache.shared_length([encoder.encode_prompt(sample) for sample in samples])
    hook = model.get_input_embeddings().register_forward_pre_hook(lambda _, inputs: widths.append(inputs[0].shape))
    scores = scoring.score(model, encoder, samples, batch_size=3)
    hook.remove()
    longest = max(len(encoder.encode_prompt(sample)) for sample in samples)
    assert length > 60 and [tuple(shape) for shape in widths].count((1, length)) == 1
    assert all(shape[1] <= longest - length for shape in widths if tuple(shape) not in ((1, length), (1, 2)))
    np.testing.assert_allclose(scores.p_yes, plainly(model, encoder, samples), atol=1e-5)


def test_scores_without_an_explicit_mask_are_the_same(loaded, monkeypatch):
    """As on a GPU, where torch's flash kernel takes the bias; several batches, of one token too, and a mask nowhere."""
    model, encoder = loaded
    samples, masks, given = rows(10), [], prefix_cache.sdpa_attention_forward

    def attention(module, query, key, value, mask, **options):
        masks.append(None if mask is None else type(mask).__name__)
        return given(module, query, key, value, mask, **options)

    with_mask = scoring.score(model, encoder, samples, batch_size=3)
    maskless = prefix_cache.maskless_attention
    monkeypatch.setattr(prefix_cache, "sdpa_attention_forward", attention)
    monkeypatch.setattr(prefix_cache, "maskless_attention", lambda model, enabled: maskless(model, True))
    scores = scoring.score(model, encoder, samples, batch_size=3)
    assert set(masks) == {"CausalBias"} and model.config._attn_implementation == "sdpa"
    np.testing.assert_allclose(scores.p_yes, with_mask.p_yes, atol=1e-5)
    np.testing.assert_allclose(scores.p_yes, plainly(model, encoder, samples), atol=1e-5)


def test_scores_in_batches_of_a_number_of_tokens(loaded):
    model, encoder = loaded
    samples, shapes = rows(10), []
    hook = model.get_input_embeddings().register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))
    scores = scoring.score(model, encoder, samples, tokens=600)
    hook.remove()
    assert max(shape.numel() for shape in shapes) <= 600 and max(shape[0] for shape in shapes) > 1
    np.testing.assert_allclose(scores.p_yes, plainly(model, encoder, samples), atol=1e-5)


def test_scores_of_prompts_without_a_shared_prefix(loaded):
    model, encoder = loaded
    samples = [Sample(f"{word} this.", "Titles. " * count, "Yes.") for count, word in enumerate("abcd", 1)]
    encoder = Encoder(encoder.tokenizer)
    encoder.prompt = lambda sample: encoder.tokenizer(sample.instruction + sample.input)["input_ids"]
    np.testing.assert_allclose(scoring.score(model, encoder, samples, batch_size=2).p_yes,
                               plainly(model, encoder, samples), atol=1e-5)


def test_scores_of_an_adapter_and_of_sliding_windows(loaded, tiny_llama):
    model, encoder = loaded
    wrapped = attach_adapter(load_base_model(tiny_llama, False, "float32", "cpu")[0], LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False), None).eval()
    windows = MistralForCausalLM(MistralConfig(
        vocab_size=model.config.vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.2, sliding_window=32)).eval()
    samples = rows(5)
    assert prefix_cache.is_supported(wrapped) and not prefix_cache.is_supported(windows)
    for other in (wrapped, windows):
        scores = scoring.score(other, encoder, samples, batch_size=2)
        np.testing.assert_allclose(scores.p_yes, plainly(other, encoder, samples), atol=1e-5)
    assert not np.allclose(plainly(wrapped, encoder, samples), plainly(model, encoder, samples), atol=1e-3)


def test_out_of_memory_halves_the_batch(loaded, tiny_llama, record_property):
    """Two rows fit: eight, then four are tried once each, and every later batch is made of two."""
    model, tokenizer = load_base_model(tiny_llama, False, "float32", "cpu")
    samples, sizes = rows(16), []

    def full(_, inputs):
        sizes.append(len(inputs[0]))
        if len(inputs[0]) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    model.get_input_embeddings().register_forward_pre_hook(full)
    scores = scoring.score(model, Encoder(tokenizer), samples, batch_size=8)
    assert [size for size in sizes if size > 2] == [8, 4] and sizes.count(2) == 8
    plain = plainly(*loaded, samples)
    np.testing.assert_allclose(scores.p_yes, plain, atol=1e-5)
    record_property("figure", f"2 batches refused and halved; largest difference of P(Yes) "
                              f"{abs(scores.p_yes - plain).max():.1e}")


def test_score_refuses_one_prompt_out_of_memory(tiny_llama):
    model, tokenizer = load_base_model(tiny_llama, False, "float32", "cpu")

    def full(_, inputs):
        if inputs[0].shape[1] > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    model.get_input_embeddings().register_forward_pre_hook(full)
    refused("sample 0", scoring.score, model, Encoder(tokenizer), rows(1))


def test_token_batches_hold_a_token_budget():
    lengths = [10, 100, 50, 30, 90, 20]
    order = sorted(range(6), key=lambda row: -lengths[row])
    batches = scoring.token_batches(order, lengths, 200)
    assert batches == [[1, 4], [2, 3, 5, 0]] and sorted(sum(batches, [])) == list(range(6))
    assert scoring.token_batches([0], [300], 200) == [[0]]


def test_score_limits_longrope_models_to_their_original_length(loaded):
    """Beyond it a row's score would depend on the rows beside it, and on what was computed before."""
    _, encoder = loaded
    model = Phi3ForCausalLM(Phi3Config(
        vocab_size=49152, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, original_max_position_embeddings=300, pad_token_id=0,
        rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 8,
                         "long_factor": [4.0] * 8, "original_max_position_embeddings": 300}))
    samples = rows(6)
    plain = plainly(model, encoder, samples)
    np.testing.assert_allclose(scoring.score(model, encoder, samples).p_yes, plain, atol=1e-5)
    refused("300", scoring.score, model, encoder, [*samples, Sample("x", "film " * 400, "Yes.")])


def test_score_without_prefix_cache_where_unsupported(loaded, tiny_llama, monkeypatch):
    _, encoder = loaded
    model, _ = load_base_model(tiny_llama, False, "float32", "cpu")
    samples = rows(4)
    plain = plainly(model, encoder, samples)
    forward = model.forward

    def without(*words, past_key_values=None, **named):
        if past_key_values is not None:
            raise ValueError("a cache of its own")
        return forward(*words, **named)

    monkeypatch.setattr(model, "forward", without)
    assert not prefix_cache.is_supported(model)
    np.testing.assert_allclose(scoring.score(model, encoder, samples).p_yes, plain, atol=1e-5)

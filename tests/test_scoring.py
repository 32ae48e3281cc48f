import numpy as np
import pytest
import torch
from conftest import make_rows

from tlrec import models, scoring
from tlrec.answers import Encoder
from tlrec.errors import InputError
from tlrec.samples import Sample


@pytest.fixture(scope="module")
def loaded(tiny_llama):
    model, tokenizer = models.load(tiny_llama, False, "float32", "cpu")
    return model, Encoder(tokenizer)


def rows(count):
    return [Sample(**sample) for sample in make_rows(count, 9)[0]]


def test_scores_equal_one_plain_forward_pass_per_prompt(loaded):
    model, encoder = loaded
    samples = rows(11)
    scores = scoring.score(model, encoder, samples, batch_size=4)
    yes, no = encoder.answer_ids()
    for number, sample in enumerate(samples):
        with torch.no_grad():
            logits = model(torch.tensor([encoder.prompt(sample)])).logits[0, -1].double()
        assert scores.logit_yes[number] == pytest.approx(logits[yes].item(), abs=1e-4)
        assert scores.p_yes[number] == pytest.approx(logits[[no, yes]].softmax(0)[1].item(), abs=1e-5)
        twice = logits.softmax(0)[[no, yes]].softmax(0)[1].item()
        assert scores.p_yes_published[number] == pytest.approx(twice, abs=1e-6)
    assert np.ptp(scores.p_yes) > 0.01  # a random model that answers everything alike would prove nothing


def test_the_answer_position_is_that_of_tuning(loaded):
    """The logits that scoring reads are those that predict the answer's first token in a tuning sample."""
    model, encoder = loaded
    (sample,) = rows(1)
    whole = encoder.whole(sample)
    with torch.no_grad():
        logits = model(torch.tensor([whole.ids])).logits[0, whole.answer_start - 1]
    scores = scoring.score(model, encoder, [sample])
    assert scores.logit_yes[0] == pytest.approx(logits[encoder.answer_ids().yes].item(), abs=1e-4)


def test_batch_size_and_order_change_nothing(loaded):
    model, encoder = loaded
    samples = rows(9)
    alone = scoring.score(model, encoder, samples, batch_size=1)
    together = scoring.score(model, encoder, samples[::-1], batch_size=9)
    np.testing.assert_allclose(alone.p_yes, together.p_yes[::-1], atol=1e-6)


def test_prompts_are_never_cut(loaded):
    model, encoder = loaded
    with pytest.raises(InputError, match="sample 1: a prompt of .* the model reads 2048"):
        scoring.score(model, encoder, [rows(1)[0], Sample("i", "title " * 3000, "Yes.")])


def test_nan_is_an_error_not_an_auc(loaded, tiny_llama):
    model, tokenizer = models.load(tiny_llama, False, "float32", "cpu")
    model.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(InputError, match="NaN"):
        scoring.score(model, Encoder(tokenizer), rows(2))


class Small:
    """A model that has room for so many tokens in a batch only, as a GPU does."""

    def __init__(self, model, room):
        self.model, self.room, self.passes = model, room, []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, input_ids, **named):
        self.passes.append(input_ids.numel())
        if input_ids.numel() > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.model(input_ids=input_ids, **named)


def test_out_of_memory_halves_the_batch_and_changes_no_number(loaded, record_property):
    model, encoder = loaded
    samples = rows(12)
    plain = scoring.score(model, encoder, samples, batch_size=12)
    small = Small(model, 3 * max(len(encoder.prompt(sample)) for sample in samples))
    scores = scoring.score(small, encoder, samples, batch_size=12)
    refused = sum(tokens > small.room for tokens in small.passes)
    assert 1 <= refused <= 3
    np.testing.assert_allclose(scores.p_yes, plain.p_yes, atol=1e-6)
    record_property("figure", f"{refused} batches refused and halved; largest difference of P(Yes) "
                              f"{abs(scores.p_yes - plain.p_yes).max():.1e}")


def test_one_prompt_that_does_not_fit_is_named(loaded):
    model, encoder = loaded
    with pytest.raises(InputError, match="sample 0: out of memory with this prompt"):
        scoring.score(Small(model, 5), encoder, rows(1))

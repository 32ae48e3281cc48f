"""Encoders against torch's own modules and against arithmetic by hand; the model's padding; DROS's loss."""

import math

import numpy as np
import pytest
import torch
from conftest import refused
from torch import nn

from baselines import data, train
from baselines.caser import Caser
from baselines.config import SYSTEMS, BaselineConfig
from baselines.dros import propensities, robust_term
from baselines.gru4rec import GRU4Rec
from baselines.sasrec import Block, SASRec

SIZE, LENGTHS = 8, torch.tensor([10, 3, 1, 7])


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def histories_of(lengths=LENGTHS):
    """Vectors (4, 10, SIZE), zero behind each history."""
    vectors = torch.randn(len(lengths), data.LENGTH, SIZE)
    return vectors * (torch.arange(data.LENGTH) < lengths[:, None])[..., None]


@pytest.mark.parametrize(("hidden", "layers"), [(SIZE, 1), (12, 2)])
def test_gru_equals_torch_on_the_unpadded_history(hidden, layers):
    encoder = GRU4Rec(SIZE, hidden, layers, dropout=0.1).eval()
    vectors = histories_of()
    packed = nn.utils.rnn.pack_padded_sequence(vectors, LENGTHS, batch_first=True, enforce_sorted=False)
    _, last = encoder.gru(packed)
    torch.testing.assert_close(encoder(vectors, LENGTHS), encoder.output(last[-1]))


@torch.no_grad()
def test_caser_by_hand():
    encoder = Caser(SIZE, data.LENGTH, dropout=0.1).eval()
    assert [(c.out_channels, c.kernel_size[0]) for c in encoder.horizontal] == [(16, 2), (16, 3), (16, 4)]
    vectors = histories_of()
    for vector, length, state in zip(vectors, LENGTHS, encoder(vectors, LENGTHS), strict=True):
        joined = []
        for convolution in encoder.horizontal:
            height = convolution.kernel_size[0]
            for weight, bias in zip(convolution.weight, convolution.bias, strict=True):
                windows = [max(0.0, float((vector[i : i + height].T * weight).sum() + bias))
                           for i in range(int(length) - height + 1)]
                joined.append(max(windows, default=0.0))
        weighed = sum(encoder.vertical.weight[0, i] * vector[i] for i in range(int(length)))
        expected = encoder.output(torch.cat([torch.tensor(joined), weighed]))
        torch.testing.assert_close(state, expected, rtol=1e-4, atol=1e-5)


def torchs_layer(block):
    """nn.TransformerEncoderLayer with the weights of a Block."""
    layer = nn.TransformerEncoderLayer(SIZE, 1, SIZE, dropout=0.0, batch_first=True, norm_first=True).eval()
    layer.load_state_dict({
        "self_attn.in_proj_weight": block.query_key_value.weight, "self_attn.in_proj_bias": block.query_key_value.bias,
        **{f"{theirs}.{part}": getattr(ours, part) for theirs, ours in {
            "self_attn.out_proj": block.mixed, "linear1": block.inner, "linear2": block.outer,
            "norm1": block.attention_norm, "norm2": block.network_norm}.items() for part in ("weight", "bias")}})
    return layer


def test_sasrec_block_equals_torch_encoder_layer():
    block, x = Block(SIZE, dropout=0.1).eval(), torch.randn(4, data.LENGTH, SIZE)
    mask = nn.Transformer.generate_square_subsequent_mask(data.LENGTH)
    torch.testing.assert_close(block(x), torchs_layer(block)(x, src_mask=mask, is_causal=True))


@pytest.mark.parametrize("blocks", [1, 2])
def test_sasrec_reads_the_normed_state_of_the_last_item(blocks):
    encoder, vectors = SASRec(SIZE, data.LENGTH, dropout=0.1, blocks=blocks).eval(), histories_of()
    for vector, length, state in zip(vectors, LENGTHS, encoder(vectors, LENGTHS), strict=True):
        x = (vector + encoder.positions)[None, : int(length)]  # the history alone, without its padding
        mask = nn.Transformer.generate_square_subsequent_mask(int(length))
        for block in encoder.blocks:
            x = torchs_layer(block)(x, src_mask=mask, is_causal=True)
        torch.testing.assert_close(state, encoder.norm(x[0, -1]))


def test_sasrec_attention_is_causal():
    block, x = Block(SIZE, dropout=0.0).eval(), torch.randn(1, data.LENGTH, SIZE)
    changed = x.clone()
    changed[:, 6] += torch.randn(SIZE)
    before, after = block(x)[0], block(changed)[0]
    torch.testing.assert_close(before[:6], after[:6])
    assert (before[6:] - after[6:]).abs().amax(dim=1).min() > 1e-4  # every later position sees the change


def make_batch(count=40, rows=12):
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, data.LENGTH + 1, size=rows)
    real = np.arange(data.LENGTH) < lengths[:, None]
    return data.Batch(
        np.where(real, generator.integers(data.UNKNOWN, count + data.FIRST, size=real.shape), data.PADDING),
        np.where(real, generator.integers(1, 3, size=real.shape), 0), lengths,
        generator.integers(data.FIRST, count + data.FIRST, size=rows),
        (np.arange(rows) % 2).astype(np.float32)).to("cpu")


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("use_ratings", [False, True])
def test_a_padded_position_does_not_change_a_score(name, use_ratings):
    titles = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    scorer = train.build(SYSTEMS[name], 40, titles, use_ratings, BaselineConfig(embedding=SIZE)).eval()
    batch = make_batch()
    padded = torch.arange(data.LENGTH) >= batch.lengths[:, None]
    disturbed = batch._replace(items=torch.where(padded, 17, batch.items), flags=torch.where(padded, 2, batch.flags))
    before, after = scorer(batch), scorer(disturbed)
    assert torch.equal(before, after)
    first = batch._replace(items=batch.items.clone())
    first.items[:, 0] = torch.where(first.items[:, 0] == 20, 21, 20)
    assert (scorer(first) != before).all()  # a real position does


@pytest.mark.parametrize("name", SYSTEMS)
def test_scores_are_state_times_target(name):
    titles = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    scorer = train.build(SYSTEMS[name], 40, titles, False, BaselineConfig(embedding=SIZE)).eval()
    batch = make_batch()
    table = scorer.items()
    assert table.shape == (42, 16 if SYSTEMS[name].text else 8) and not table[data.PADDING].any()
    torch.testing.assert_close(table[data.UNKNOWN], table[data.FIRST :].mean(dim=0))
    scores, every = scorer.forward_all(batch)
    torch.testing.assert_close(scores, scorer(batch))
    torch.testing.assert_close(every[torch.arange(12), batch.targets - data.FIRST], scores)
    states = scorer.states(table, batch)
    by_hand = [(state @ table[target]).item() for state, target in zip(states, batch.targets, strict=True)]
    np.testing.assert_allclose(scores.detach(), by_hand, rtol=1e-4, atol=1e-6)


def test_robust_term_equals_the_papers_formula():
    generator = np.random.default_rng(1)
    scores, targets, beta = generator.normal(size=(5, 7)) * 2, [0, 3, 3, 6, 1], 0.7
    counts = [targets.count(item) for item in range(7)]
    propensity = [((count + 1) / sum(c + 1 for c in counts)) ** 0.05 for count in counts]
    total = 0.0
    for s, t in zip(scores, targets, strict=True):
        inner = sum(math.exp(p * x**2 / beta) for p, x in zip(propensity, s, strict=True))
        inner += math.exp(propensity[t] * (s[t] - 1) ** 2 / beta) - math.exp(propensity[t] * s[t] ** 2 / beta)
        total += math.log(inner)
    computed = propensities(np.array(targets), 7)
    np.testing.assert_allclose(computed, propensity, rtol=1e-6)
    exact = torch.tensor(propensity, dtype=torch.float64)
    term = robust_term(torch.tensor(scores), torch.tensor(targets), exact, beta)
    assert float(term) == pytest.approx(total / 5, rel=1e-12)
    assert float(robust_term(torch.empty(0, 7), torch.empty(0, dtype=torch.long), computed, beta)) == 0
    assert math.isfinite(robust_term(torch.full((1, 7), 40.0), torch.tensor([2]), computed, beta))


@pytest.mark.parametrize("name", ["GRU", "DROS"])
def test_loss_is_squared_error_plus_the_robust_term_for_dros(name):
    batch, settings = make_batch(), BaselineConfig(embedding=SIZE, alpha=0.3, beta=0.7)
    scorer = train.build(SYSTEMS[name], 40, None, False, settings).eval()
    propensity = propensities(np.array([3, 3, 5]), 40)
    error = ((scorer(batch) - batch.labels) ** 2).mean()
    liked = batch.take(batch.labels == 1)
    term = robust_term(scorer.forward_all(liked)[1], liked.targets - data.FIRST, propensity, 0.7)
    expected = error + 0.3 * term if name == "DROS" else error
    torch.testing.assert_close(train._loss(scorer, batch, propensity if name == "DROS" else None, settings), expected)


def test_train_uses_propensities_of_liked_targets_for_dros_only(monkeypatch):
    batch, seen, given = make_batch(), [], []
    monkeypatch.setattr(train, "propensities", lambda *words: seen.append(words) or propensities(*words))
    monkeypatch.setattr(train, "_loss", lambda *words, real=train._loss: given.append(words[2]) or real(*words))
    settings = BaselineConfig(embedding=SIZE, max_epochs=1)
    for name in ("GRU", "DROS"):
        train.train(train.build(SYSTEMS[name], 40, None, False, settings), SYSTEMS[name], batch, batch, settings, 0.0)
    ((targets, items),) = seen
    assert targets.tolist() == (batch.targets[batch.labels == 1] - data.FIRST).tolist() and items == 40
    assert given[0] is None and torch.equal(given[1], propensities(targets, items))


@pytest.mark.parametrize("name", SYSTEMS)
def test_dropout_acts_in_training_only(name):
    titles = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    scorer, batch = (
        train.build(SYSTEMS[name], 40, titles, False, BaselineConfig(embedding=SIZE, dropout=0.5)),
        make_batch(),
    )
    assert not torch.equal(scorer.train()(batch), scorer(batch))
    assert torch.equal(scorer.eval()(batch), scorer(batch))
    bare = train.build(SYSTEMS[name], 40, titles, False, BaselineConfig(embedding=SIZE, dropout=0.0)).train()
    assert torch.equal(bare(batch), bare(batch))


@pytest.mark.parametrize("name", SYSTEMS)
def test_train_fits_separable_rows_and_keeps_the_best_epoch(name):
    """Labels follow from the target item alone; the saved weights are those of the best validation epoch."""
    generator = np.random.default_rng(2)
    rows = 160
    targets = generator.integers(data.FIRST, 12, size=rows)
    batch = data.Batch(
        generator.integers(data.FIRST, 12, size=(rows, data.LENGTH)), np.ones((rows, data.LENGTH), dtype=np.int64),
        np.full(rows, data.LENGTH), targets, (targets % 2).astype(np.float32)).to("cpu")
    settings = BaselineConfig(embedding=SIZE, learning_rate=0.02, batch_size=16, max_epochs=8)
    titles = generator.normal(size=(10, 6)).astype(np.float32)
    scorer = train.build(SYSTEMS[name], 10, titles, False, settings)
    fitted = train.train(scorer, SYSTEMS[name], batch, batch, settings, 1e-5)
    from tlrec.evaluation import metrics
    assert fitted.validation_auc > 0.95
    assert metrics.auc(batch.labels.numpy(), train.score(fitted.model, batch)) == fitted.validation_auc


def test_train_discards_diverged_weights():
    batch = make_batch(rows=40)
    settings = BaselineConfig(embedding=SIZE, eval_steps=1, max_epochs=6)
    scorer = train.build(SYSTEMS["GRU"], 40, None, False, settings)
    passes = []
    scorer.register_forward_pre_hook(lambda module, _: passes.append(module.training))
    step = torch.optim.Adam.step

    def diverging(self, *words):
        step(self, *words)
        if passes.count(True) == 3:
            with torch.no_grad():
                scorer.items.learned.fill_(math.nan)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.optim.Adam, "step", diverging)
        fitted = train.train(scorer, SYSTEMS["GRU"], batch, batch, settings, 0.0)
    assert fitted.steps == 3 and fitted.epochs <= 2 and np.isfinite(train.score(fitted.model, batch)).all()
    refused("--learning_rate", train.train, scorer, SYSTEMS["GRU"], batch, batch, settings, math.inf)

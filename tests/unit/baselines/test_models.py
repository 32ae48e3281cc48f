"""The published set-up written out densely from its description, against the models, the loss and the training here."""

import math

import numpy as np
import pytest
import torch
from conftest import refused
from sklearn.metrics import roc_auc_score
from torch import nn

from baselines import data, dros, train
from baselines.caser import Caser
from baselines.config import SYSTEMS, BaselineConfig
from baselines.gru4rec import GRU4Rec
from baselines.sasrec import SASRec
from baselines.sequence_model import Recommender

SIZE, ITEMS = 8, 40
SMALL = BaselineConfig(embedding=SIZE, gru_hidden=SIZE, gru_layers=2, dropout=0.0, epochs=4, batch_size=16,
                       learning_rate=0.02)
TITLES = np.random.default_rng(0).normal(size=(ITEMS + 1, 6)).astype(np.float32)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def make_batch(rows=12, seed=0, items=ITEMS):
    generator = np.random.default_rng(seed)
    shape = rows, data.LENGTH
    return data.Batch(
        generator.integers(0, items, size=shape), generator.integers(0, 2, size=shape).astype(np.float32),
        generator.integers(0, items, size=rows), (np.arange(rows) % 2).astype(np.float32)).to("cpu")


def make_splits(rows=40):
    return train.Splits(make_batch(rows, 1, 20), make_batch(30, 2, 30), make_batch(30, 3, 30), ITEMS)


def test_gru_equals_torch_on_packed_sequences():
    encoder, vectors = GRU4Rec(SIZE, 12, 2), torch.randn(4, data.LENGTH, SIZE)
    packed = nn.utils.rnn.pack_padded_sequence(vectors, [data.LENGTH] * 4, batch_first=True)
    torch.testing.assert_close(encoder(vectors), encoder.gru(packed)[1][-1])


@torch.no_grad()
def test_caser_by_hand():
    encoder = Caser(SIZE, data.LENGTH, dropout=0.1).eval()
    assert [(c.out_channels, c.kernel_size) for c in encoder.horizontal] == [(16, (h, SIZE)) for h in (2, 3, 4)]
    for vector in torch.randn(3, data.LENGTH, SIZE):
        joined = []
        for convolution in encoder.horizontal:
            height = convolution.kernel_size[0]
            for weight, bias in zip(convolution.weight[:, 0], convolution.bias, strict=True):
                joined.append(max(max(0.0, float((vector[i : i + height] * weight).sum() + bias))
                                  for i in range(data.LENGTH - height + 1)))
        weighed = (encoder.vertical.weight[0, 0] * vector).sum(dim=0) + encoder.vertical.bias
        expected = torch.cat([torch.tensor(joined), weighed.clamp(min=0)])
        torch.testing.assert_close(encoder(vector[None])[0], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_sasrec_equals_a_causal_block_that_computes_every_position():
    encoder, vectors = SASRec(SIZE, data.LENGTH, dropout=0.1, heads=2).eval(), torch.randn(4, data.LENGTH, SIZE)
    x = vectors + encoder.positions.weight
    normed = encoder.input_norm(x)
    attended = torch.empty_like(x)
    for head in range(2):
        part = slice(head * SIZE // 2, (head + 1) * SIZE // 2)
        logits = encoder.query(normed)[..., part] @ encoder.key(x)[..., part].transpose(1, 2) / math.sqrt(SIZE)
        logits = logits.masked_fill(torch.ones(data.LENGTH, data.LENGTH).triu(1).bool(), -math.inf)
        attended[..., part] = torch.softmax(logits, dim=2) @ encoder.value(x)[..., part]
    x = encoder.attention_norm(attended + normed)
    x = encoder.norm(encoder.inner_norm(x + encoder.outer(torch.relu(encoder.inner(x)))))
    torch.testing.assert_close(encoder(vectors), x[:, -1])


def test_vector_is_the_learned_numbers_and_the_rating():
    batch = make_batch()
    model = Recommender(SYSTEMS["GRU"], ITEMS, SMALL)
    assert model.embedding.weight.shape == (ITEMS + 1, SIZE - 1) and model.output.weight.shape == (ITEMS, SIZE)
    assert float(model.embedding.weight.detach().std()) == pytest.approx(0.01, rel=0.2)
    vectors = torch.cat([model.embedding(batch.items), batch.likes[..., None]], dim=2)
    torch.testing.assert_close(model.states(batch), model.encoder(vectors))
    every = torch.sigmoid(model.output(model.states(batch)))
    torch.testing.assert_close(model(batch), every.gather(1, batch.targets[:, None]).squeeze(1))
    disliked = batch._replace(likes=1 - batch.likes)
    without = Recommender(SYSTEMS["GRU"], ITEMS, SMALL, ratings=False)
    assert without.embedding.weight.shape == (ITEMS + 1, SIZE)
    assert torch.equal(without(batch), without(disliked)) and not torch.equal(model(batch), model(disliked))
    text = Recommender(SYSTEMS["GRU-BERT"], ITEMS, SMALL, titles=TITLES)
    joined = torch.cat([text.embedding(batch.items), batch.likes[..., None],
                        text.project(torch.from_numpy(TITLES)[batch.items])], dim=2)
    torch.testing.assert_close(text.states(batch), text.encoder(joined))


def test_robust_term_by_hand(monkeypatch):
    monkeypatch.setattr(dros, "CHUNK", 15)  # three of seven items
    generator = np.random.default_rng(1)
    states, targets, beta = generator.normal(size=(5, 4)), [0, 3, 3, 6, 1], 0.7
    output = nn.Linear(4, 7).double()
    counts = [targets.count(item) for item in range(7)]
    propensity = [((count + 1) / (len(targets) + 7)) ** 0.5 for count in counts]
    total = 0.0
    for s, t in zip(output(torch.tensor(states)).tolist(), targets, strict=True):
        inner = sum(math.exp(p * x**2 / beta) for p, x in zip(propensity, s, strict=True))
        inner += math.exp(propensity[t] * (s[t] - 1) ** 2 / beta) - math.exp(propensity[t] * s[t] ** 2 / beta)
        total += math.log(inner)
    computed = dros.propensities(np.array(targets), 7)
    np.testing.assert_allclose(computed, propensity, rtol=1e-6)
    exact = torch.tensor(propensity, dtype=torch.float64)
    term = dros.robust_term(torch.tensor(states), output, torch.tensor(targets), exact, beta)
    assert term.item() == pytest.approx(total / 5, rel=1e-12)
    far = torch.tensor(states) * 100
    assert math.isfinite(dros.robust_term(far, output, torch.tensor(targets), exact, beta).item())


def dense(system, splits, settings, weight_decay, seed, titles):
    """The published rule: an output layer over all items in every step. (test scores, validation AUC, step)"""
    torch.manual_seed(seed)
    model = Recommender(system, ITEMS, settings, titles=titles)
    counts = torch.bincount(splits.train.targets, minlength=ITEMS) + 1
    p = (counts / counts.sum()) ** 0.5
    rows = len(splits.train.labels)
    generator = np.random.RandomState(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=weight_decay, fused=False)
    best, step = (None, 0.0, 0), 0
    for _ in range(settings.epochs):
        for _ in range(max(1, rows // settings.batch_size)):
            batch = splits.train.take(torch.from_numpy(generator.choice(rows, min(rows, settings.batch_size), False)))
            every, target = model.output(model.states(batch)), batch.targets[:, None]
            loss = ((torch.sigmoid(every.gather(1, target)).squeeze(1) - batch.labels) ** 2).mean()
            if system.loss == "dros":
                squares = torch.exp(p * every**2 / settings.beta)
                hit = torch.exp(p * (every - 1) ** 2 / settings.beta).gather(1, target) - squares.gather(1, target)
                loss = loss + settings.alpha * torch.log(squares.sum(dim=1) + hit.squeeze(1)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
            if step % settings.eval_steps == 0:
                with torch.no_grad():
                    auc = roc_auc_score(splits.valid.labels, model(splits.valid))
                    if auc > best[1]:
                        best = model(splits.test).numpy(), auc, step
    return best


@pytest.mark.parametrize("rows", [40, 12])
@pytest.mark.parametrize("name", SYSTEMS)
def test_training_equals_the_dense_rule(name, rows, monkeypatch):
    """Rows of items that no batch reads, and outputs of items that are no target, are not computed here."""
    monkeypatch.setattr(dros, "CHUNK", 256)
    splits, titles = make_splits(rows), TITLES if SYSTEMS[name].text else None
    settings = BaselineConfig(**{**vars(SMALL), "eval_steps": 2})
    scores, auc, step = dense(SYSTEMS[name], splits, settings, 0.01, 5, titles)
    fitted = train.fit(SYSTEMS[name], splits, settings, 0.01, 5, titles=titles)
    assert fitted.steps == settings.epochs * (2 if rows == 40 else 1)
    assert (fitted.step, fitted.validation_auc) == (step, pytest.approx(auc))
    np.testing.assert_allclose(fitted.scores, scores, atol=2e-5)
    model = Recommender(SYSTEMS[name], ITEMS, settings, titles=titles)
    assert fitted.parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", ["Caser", "SASRec"])
def test_dropout_acts_in_training_only(name):
    settings = BaselineConfig(**{**vars(SMALL), "dropout": 0.5})
    model, batch = Recommender(SYSTEMS[name], ITEMS, settings), make_batch()
    assert not torch.equal(model.train()(batch), model(batch))
    assert torch.equal(model.eval()(batch), model(batch))


@pytest.mark.parametrize("name", SYSTEMS)
def test_fit_learns_separable_rows(name):
    """Labels follow from the target item alone."""
    generator = np.random.default_rng(2)
    rows = 160
    targets = generator.integers(0, 10, size=rows)
    batch = make_batch(rows)._replace(targets=torch.from_numpy(targets),
                                      labels=torch.from_numpy((targets % 2).astype(np.float32)))
    settings = BaselineConfig(**{**vars(SMALL), "learning_rate": 0.05, "epochs": 12})
    fitted = train.fit(SYSTEMS[name], train.Splits(batch, batch, batch, ITEMS), settings, 1e-5, 0,
                       titles=TITLES if SYSTEMS[name].text else None)
    assert fitted.validation_auc > 0.95 and roc_auc_score(batch.labels, fitted.scores) == fitted.validation_auc


def test_fit_refuses_diverging_weights():
    refused("--learning_rate", train.fit, SYSTEMS["GRU"], make_splits(), BaselineConfig(epochs=5), math.inf, 0)


def test_published_epochs_of_each_system():
    assert BaselineConfig().resolve("book", "Caser").epochs == 500
    assert BaselineConfig().resolve("movie", "Caser").epochs == BaselineConfig().resolve("book", "GRU").epochs == 100
    assert BaselineConfig(epochs=7).resolve("book", "Caser").epochs == 7


def test_fit_keeps_scores_of_a_validation_auc_of_zero():
    splits, settings = make_splits(), BaselineConfig(**{**vars(SMALL), "epochs": 1, "eval_steps": 2})
    pair = splits.valid.take(torch.tensor([0, 1]))
    aucs = set()
    for labels in ([0.0, 1.0], [1.0, 0.0]):
        fitted = train.fit(SYSTEMS["GRU"], splits._replace(valid=pair._replace(labels=torch.tensor(labels))), settings,
                           0.0, 0)
        aucs.add(fitted.validation_auc)
        assert len(fitted.scores) == len(splits.test.labels) and fitted.step == 2
    assert aucs == {0, 1}

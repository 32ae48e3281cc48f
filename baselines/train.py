"""Train one of the systems by the published rule and score the test rows."""

import time
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from baselines.config import BaselineConfig, System
from baselines.data import Batch
from baselines.dros import propensities, robust_term
from baselines.sequence_model import Recommender
from tlrec.errors import InputError
from tlrec.evaluation import metrics


class Splits(NamedTuple):
    """The drawn training rows, and all rows of validation and test; item numbers from 0 to `items`."""

    train: Batch
    valid: Batch
    test: Batch
    items: int


class Fitted(NamedTuple):
    scores: np.ndarray  # (n,) of the test rows, at the best validation AUC
    validation_auc: float
    step: int  # of these scores
    steps: int  # in all
    parameters: int  # of the model with all items
    seconds: float


def fit(
    system: System, splits: Splits, settings: BaselineConfig, weight_decay: float, seed: int, ratings: bool = True,
    titles: np.ndarray | None = None,
) -> Fitted:
    """Train with Adam on the squared error to the 0/1 label (+ alpha x the robust term for DROS).

    A step draws min(batch_size, rows) rows anew; an epoch is max(1, rows // batch_size) steps. Validation follows every
    eval_steps steps; the test scores are those of the best validation AUC; training never ends early. Initial weights
    and dropout follow torch's seed, the drawing numpy's, as published. InputError where scores are not finite.

    titles: (items + 1, width), for the BERT variants.
    """
    start = time.time()
    torch.manual_seed(seed)
    device = splits.train.labels.device
    model = Recommender(system, splits.items, settings, ratings, titles)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    propensity = None
    if system.loss == "dros":
        propensity = propensities(splits.train.targets.cpu().numpy(), splits.items).to(device)
    splits = _keep_items(model, splits, all_targets=propensity is not None)
    model.to(device)
    train, valid, test, _ = splits
    labels, rows = valid.labels.cpu().numpy(), len(train.labels)
    size, generator = min(settings.batch_size, rows), np.random.RandomState(seed)
    steps = settings.epochs * max(1, rows // settings.batch_size)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=weight_decay, fused=True)
    best = Fitted(np.empty(0), -1.0, 0, steps, parameters, 0.0)
    for step in range(1, steps + 1):
        model.train()
        drawn = torch.from_numpy(generator.choice(rows, size, replace=False)).to(device)
        optimiser.zero_grad()
        _loss(model, train.take(drawn), propensity, settings).backward()
        optimiser.step()
        if step % settings.eval_steps:
            continue
        scores = score(model, valid)
        if not np.isfinite(scores).all():  # such scores would still have an AUC, a meaningless one
            raise InputError(f"the scores are not finite at step {step}; take a lower --learning_rate or "
                             "--weight_decay")
        auc = metrics.auc(labels, scores)
        if auc is not None and auc > best.validation_auc:
            best = best._replace(scores=score(model, test), validation_auc=auc, step=step)
    return best._replace(seconds=time.time() - start)


def _keep_items(model: Recommender, splits: Splits, all_targets: bool) -> Splits:
    """The splits in the item numbers that Recommender.keep_items leaves. all_targets: the loss reads every output."""
    batches = splits[:3]
    items, item_numbers = torch.cat([batch.items for batch in batches]).unique(return_inverse=True)
    targets, target_numbers = torch.cat([batch.targets for batch in batches]).unique(return_inverse=True)
    model.keep_items(items.cpu(), None if all_targets else targets.cpu())
    rows = [len(batch.labels) for batch in batches]
    numbered = zip(batches, item_numbers.split(rows), target_numbers.split(rows), strict=True)
    return Splits(*(batch._replace(items=item, targets=batch.targets if all_targets else target)
                    for batch, item, target in numbered), splits.items)


def _loss(model: Recommender, batch: Batch, propensity: torch.Tensor | None, settings: BaselineConfig) -> torch.Tensor:
    states = model.states(batch)
    scores = torch.sigmoid(model.target_scores(states, batch.targets))
    loss = functional.mse_loss(scores, batch.labels)
    if propensity is None:
        return loss
    return loss + settings.alpha * robust_term(states, model.output, batch.targets, propensity, settings.beta)


def score(model: Recommender, batch: Batch) -> np.ndarray:
    """Probabilities (n,), without dropout."""
    model.eval()
    with torch.inference_mode():
        return model(batch).double().cpu().numpy()

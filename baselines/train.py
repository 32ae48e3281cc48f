"""Build one of the systems and train it on a few-shot subset; early stopping on validation AUC."""

import copy
import time
from typing import NamedTuple

import numpy as np
import torch

from baselines.caser import Caser
from baselines.config import BaselineConfig, System
from baselines.data import FIRST, LENGTH, Batch
from baselines.dros import propensities, robust_term
from baselines.gru4rec import GRU4Rec
from baselines.model import Items, Scorer
from baselines.sasrec import SASRec
from tlrec.errors import InputError
from tlrec.evaluation import metrics


class TrainedModel(NamedTuple):
    model: Scorer
    validation_auc: float
    epochs: int  # of the weights that are kept
    steps: int  # optimiser steps in all
    seconds: float


def build(system: System, count: int, titles: np.ndarray | None, use_ratings: bool, settings: BaselineConfig) -> Scorer:
    """A model with fresh weights. count: catalogue items; titles: their frozen vectors, for the BERT variants."""
    items = Items(count, settings.embedding, titles if system.text else None)
    encoder: torch.nn.Module
    if system.encoder == "gru":
        encoder = GRU4Rec(items.width, settings.gru_hidden or items.width, settings.gru_layers, settings.dropout)
    elif system.encoder == "caser":
        encoder = Caser(items.width, LENGTH, settings.dropout)
    else:
        encoder = SASRec(items.width, LENGTH, settings.dropout)
    return Scorer(items, encoder, settings.dropout, use_ratings)


def train(
    model: Scorer, system: System, train: Batch, valid: Batch, settings: BaselineConfig, weight_decay: float
) -> TrainedModel:
    """Adam on the squared error to the 0/1 label (+ alpha x the robust term over the liked targets for DROS).

    Validation follows an epoch, at least `eval_steps` steps after the previous one (an epoch of a few shots is one
    step). The weights of the best validation AUC are kept; training ends after `patience` validations without a better
    one, or where the scores are no longer finite (InputError where they never were). Row order and dropout follow
    torch's seed.
    """
    start = time.time()
    device, labels = train.labels.device, valid.labels.cpu().numpy()
    liked = train.targets[train.labels == 1].cpu().numpy() - FIRST
    propensity = propensities(liked, len(model.items.learned)).to(device) if system.loss == "dros" else None
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=weight_decay, fused=True)
    best_auc, best_epoch, best_weights, waited = -1.0, 0, None, 0
    steps = validated = 0
    for epoch in range(1, settings.max_epochs + 1):
        model.train()
        for rows in torch.randperm(len(train.labels)).split(settings.batch_size):
            loss = _loss(model, train.take(rows.to(device)), propensity, settings)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps += 1
        if steps - validated < settings.eval_steps and epoch < settings.max_epochs:
            continue
        scores, validated = score(model, valid), steps
        if not np.isfinite(scores).all():
            break  # diverged: such scores would still have an AUC, a meaningless one
        auc = metrics.auc(labels, scores)
        if auc is not None and auc > best_auc:
            best_auc, best_epoch, best_weights, waited = auc, epoch, copy.deepcopy(model.state_dict()), 0
        else:
            waited += 1
            if waited == settings.patience:
                break
    if best_weights is None:
        raise InputError(f"the scores are not finite at epoch {epoch}; take a lower --learning_rate or --weight_decay")
    model.load_state_dict(best_weights)
    return TrainedModel(model, best_auc, best_epoch, steps, time.time() - start)


def _loss(model: Scorer, batch: Batch, propensity: torch.Tensor | None, settings: BaselineConfig) -> torch.Tensor:
    if propensity is None:
        return torch.nn.functional.mse_loss(model(batch), batch.labels)
    scores, every = model.forward_all(batch)
    liked = batch.labels == 1
    term = robust_term(every[liked], batch.targets[liked] - FIRST, propensity, settings.beta)
    return torch.nn.functional.mse_loss(scores, batch.labels) + settings.alpha * term


def score(model: Scorer, batch: Batch) -> np.ndarray:
    """Scores (n,), without dropout."""
    model.eval()
    with torch.inference_mode():
        return model(batch).double().cpu().numpy()

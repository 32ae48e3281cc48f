"""DROS (Yang et al., "A Generic Learning Framework for Sequential Recommendation with Distribution Shifts",
SIGIR 2023).

A distributionally robust term beside the squared error. The system DROS is this loss on GRU4Rec, as published with
TALLRec: the term covers the targets of all drawn rows, also the disliked ones.
"""

import numpy as np
import torch

CHUNK = 2**18  # logits at a time, which stay in a core's cache


def propensities(targets: np.ndarray, items: int) -> torch.Tensor:
    """p_i = ((count_i + 1) / sum_j (count_j + 1)) ** 0.5, shape (items,); targets: of the drawn rows, shape (n,)."""
    counts = np.bincount(targets, minlength=items) + 1
    return torch.tensor((counts / counts.sum()) ** 0.5, dtype=torch.float32)


def robust_term(
    states: torch.Tensor, output: torch.nn.Linear, targets: torch.Tensor, propensity: torch.Tensor, beta: float
) -> torch.Tensor:
    """Mean over rows of log(sum_i exp(p_i s_i^2 / beta) - exp(p_t s_t^2 / beta) + exp(p_t (s_t - 1)^2 / beta)).

    s_i: output of item i before the sigmoid, from states of shape (n, width) through the output layer over all items;
    targets t: (n,); propensity: (items,). Term t of the sum is replaced before the log-sum-exp, which avoids an
    overflow.
    """
    parts, start, items = [], 0, max(1, CHUNK // len(states))
    for weight, bias, p in zip(output.weight.split(items), output.bias.split(items), propensity.split(items),
                               strict=True):
        scores = torch.addmm(bias, states, weight.T)
        rows = ((targets >= start) & (targets < start + len(p))).nonzero().squeeze(1)
        if len(rows):
            one = scores.new_ones(())
            scores = scores.index_put((rows, targets[rows] - start), -one, accumulate=True)
        parts.append(torch.logsumexp(p * scores**2 / beta, dim=1))
        start += len(p)
    return torch.logsumexp(torch.stack(parts), dim=0).mean()

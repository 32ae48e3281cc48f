"""DROS (Yang et al., "A Generic Learning Framework for Sequential Recommendation with Distribution Shifts",
SIGIR 2023).

A distributionally robust term beside the base loss, with the authors' propensities, alpha and beta. The system DROS is
this loss on GRU4Rec.
"""

import numpy as np
import torch


def propensities(targets: np.ndarray, items: int) -> torch.Tensor:
    """p_i = ((count_i + 1) / sum_j (count_j + 1)) ** 0.05, shape (items,); targets: liked training targets, from 0."""
    counts = np.bincount(targets, minlength=items) + 1
    return torch.tensor((counts / counts.sum()) ** 0.05, dtype=torch.float32)


def robust_term(scores: torch.Tensor, targets: torch.Tensor, propensity: torch.Tensor, beta: float) -> torch.Tensor:
    """Mean over samples of log(sum_i exp(p_i s_i^2 / beta) - exp(p_t s_t^2 / beta) + exp(p_t (s_t - 1)^2 / beta)).

    scores: (n, items), the sequence's scores of all items; targets: (n,), the liked next item t of each, from 0;
    propensity: (items,). 0 for no samples. Term t of the sum is replaced before the log-sum-exp, which avoids an
    overflow.
    """
    if not len(targets):
        return scores.new_zeros(())
    one_hot = torch.zeros_like(scores).scatter_(1, targets[:, None], 1.0)
    return torch.logsumexp(propensity * (scores - one_hot) ** 2 / beta, dim=1).mean()

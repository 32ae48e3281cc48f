"""The six systems of the published table as compositions, and their shared settings. Imports no torch."""

from dataclasses import dataclass
from typing import NamedTuple

from tlrec import signature_flags
from tlrec.errors import InputError


class System(NamedTuple):
    encoder: str  # gru, caser or sasrec
    loss: str  # mse or dros
    text: bool  # join the learned item vectors with frozen BERT vectors of the titles


SYSTEMS = {
    "GRU": System("gru", "mse", False),
    "Caser": System("caser", "mse", False),
    "SASRec": System("sasrec", "mse", False),
    "DROS": System("gru", "dros", False),
    "GRU-BERT": System("gru", "mse", True),
    "DROS-BERT": System("gru", "dros", True),
}
ALIASES = {"GRU4Rec": "GRU"}
BOUNDS = {  # least and most
    "embedding": (1, 4096), "gru_hidden": (0, 65536), "gru_layers": (1, 64), "dropout": (0, 0.99), "alpha": (0, 1e6),
    "beta": (1e-9, 1e6), "learning_rate": (1e-12, 1e3), "batch_size": (1, 1e9), "max_epochs": (1, 1e9),
    "eval_steps": (1, 1e9), "patience": (1, 1e9),
}


def system_names(words: list[str]) -> list[str]:
    """Names in SYSTEMS for the words of a command line; `all` is all six."""
    names = [ALIASES.get(word, word) for word in (SYSTEMS if words == ["all"] else words)]
    if not names:
        raise InputError(f"--system names none; choose from {', '.join(SYSTEMS)}, or all")
    for name in names:
        if name not in SYSTEMS:
            raise InputError(f"--system {name!r} is unknown; choose from {', '.join(SYSTEMS)}, or all")
    return names


@dataclass(frozen=True)
class BaselineConfig:
    """Settings of every system.

    Args:
        embedding: size of a learned item vector
        gru_hidden: units of the GRU; 0 is the width of the items' vectors (published BERT variants: 1024)
        gru_layers: layers of the GRU (published BERT variants: 4)
        dropout: rate on the history's vectors and inside the encoders
        alpha: weight of DROS's robust term
        beta: radius of DROS's robust term
        learning_rate: of Adam
        batch_size: rows per optimiser step
        max_epochs: maximum number of epochs
        eval_steps: minimum number of optimiser steps between two validations; a validation follows an epoch
        patience: validations without a better AUC before training ends
    """

    embedding: int = 64
    gru_hidden: int = 0
    gru_layers: int = 1
    dropout: float = 0.1
    alpha: float = 0.1
    beta: float = 1.0
    learning_rate: float = 1e-3
    batch_size: int = 256
    max_epochs: int = 500
    eval_steps: int = 8
    patience: int = 10

    def check(self) -> None:
        """InputError for a value out of range."""
        signature_flags.check_bounds(self, BOUNDS)

"""The six systems of the published table as compositions, and their shared settings. Imports no torch."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from tlrec import signature_flags
from tlrec.errors import InputError


class System(NamedTuple):
    encoder: str  # gru, caser or sasrec
    loss: str  # mse or dros
    text: bool  # frozen BERT vectors of the titles beside the learned item vectors


SYSTEMS = {
    "GRU": System("gru", "mse", False),
    "Caser": System("caser", "mse", False),
    "SASRec": System("sasrec", "mse", False),
    "DROS": System("gru", "dros", False),
    "GRU-BERT": System("gru", "mse", True),
    "DROS-BERT": System("gru", "dros", True),
}
ALIASES = {"GRU4Rec": "GRU"}
PUBLISHED_ITEMS = {"movie": 1_683, "book": 271_381}  # of the published output layers; an item's number is its id
HEADS = 4  # of SASRec
EPOCHS = 100
MORE_EPOCHS = {("book", "Caser"): 500}  # as published
BOUNDS = {  # least and most
    "embedding": (2, 4096), "gru_hidden": (1, 65536), "gru_layers": (1, 64), "dropout": (0, 0.99), "alpha": (0, 1e6),
    "beta": (1e-9, 1e6), "learning_rate": (1e-12, 1e3), "batch_size": (1, 1e9), "epochs": (0, 1e9),
    "eval_steps": (1, 1e9),
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
    """Settings of every system; the defaults are those of TALLRec's scripts.

    Args:
        embedding: numbers of a history item: a learned vector, whose last number is the rating
        gru_hidden: units of the GRU (the paper's BERT variants: 1024)
        gru_layers: layers of the GRU
        dropout: rate in Caser and SASRec; the GRU has none
        alpha: weight of DROS's robust term
        beta: radius of DROS's robust term
        learning_rate: of Adam
        batch_size: rows that a step draws, at most those there are
        epochs: of max(1, rows // batch_size) steps each; 0 is as published: 100, and 500 for Caser on book
        eval_steps: optimiser steps between two validations
    """

    embedding: int = 64
    gru_hidden: int = 64
    gru_layers: int = 4
    dropout: float = 0.1
    alpha: float = 0.4
    beta: float = 1.0
    learning_rate: float = 1e-3
    batch_size: int = 256
    epochs: int = 0
    eval_steps: int = 5

    def check(self) -> None:
        """InputError for a value out of range."""
        signature_flags.check_bounds(self, BOUNDS)

    def resolve(self, target: str, system: str) -> "BaselineConfig":
        """The settings with the number of epochs of this system on this target."""
        return replace(self, epochs=self.epochs or MORE_EPOCHS.get((target, system), EPOCHS))

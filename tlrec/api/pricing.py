"""What requests to a server cost, estimated before and counted after."""

import math
from dataclasses import dataclass

from tlrec.errors import InputError
from tlrec.signature_flags import check_bounds


class BudgetExceeded(Exception):
    """The next request might cost more than the budget leaves."""


@dataclass(frozen=True)
class Pricing:
    """What requests cost.

    Args:
        max_cost: budget in dollars for this file of answers, earlier runs included; needs the prices
        price_in: dollars for a million tokens read
        price_out: dollars for a million tokens written
    """

    max_cost: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6

    def check(self) -> None:
        """InputError for a price or budget out of bounds, and for a budget without prices."""
        check_bounds(self, {"max_cost": (0, 1e9), "price_in": (0, 1e5), "price_out": (0, 1e5)})  # no cost overflows
        if self.max_cost is not None and not (self.price_in or self.price_out):
            raise InputError("--max_cost needs --price_in and --price_out, in dollars for a million tokens")


def estimated_tokens(text: str) -> int:
    """An upper estimate of the number of tokens: three bytes per token."""
    return math.ceil(len(text.encode()) / 3) + 8


def token_counts(reply: dict, prompt: str, answer: str | None) -> tuple[int, int, bool]:
    """Tokens read and written, and whether the server reported them; a reply without answer and usage is free."""
    usage = reply.get("usage")
    if isinstance(usage, dict):
        read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if type(read) is type(written) is int and 0 <= read < 10**9 and 0 <= written < 10**9:
            return read, written, True
    return (0, 0, False) if answer is None else (estimated_tokens(prompt), estimated_tokens(answer), False)

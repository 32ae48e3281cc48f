"""What requests to a teacher cost, estimated before and counted after."""

import math
from dataclasses import dataclass


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

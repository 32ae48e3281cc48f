"""How many requests are in flight: fewer while the server's rate limit refuses some."""

import asyncio
import math
import time


class Pace:
    """A context of one request and its retries; halved where the rate limit refuses one, and slowly raised again."""

    def __init__(self) -> None:
        self.limit = math.inf
        self._in_flight, self._slowed_down = 0, 0.0
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._in_flight + 1 <= self.limit)
            self._in_flight += 1

    async def __aexit__(self, *error: object) -> None:
        self._in_flight -= 1
        async with self._changed:
            self._changed.notify_all()

    def slow_down(self, sent: float) -> None:
        """After a refusal; once for all requests that were in flight together. sent: when it was, in monotonic time."""
        if sent >= self._slowed_down:
            self.limit = max(1, min(self.limit, self._in_flight) // 2)
            self._slowed_down = time.monotonic()

    def speed_up(self) -> None:
        """After an answer: by one when as many as the limit have come."""
        self.limit += 1 / self.limit

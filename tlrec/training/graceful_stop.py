"""Graceful stop: SIGTERM and Ctrl-C end a tuning after the current step, saved; a second signal ends it at once."""

import os
import signal
import time

SAME_SIGNAL_SECONDS = 2.0  # Ctrl-C reaches a wrapper or launcher too, which passes it on: that is no second signal


class GracefulStop:
    """Context in which the first SIGTERM or SIGINT is only noted, in `number`, for the training loop to act on.

    Signals within SAME_SIGNAL_SECONDS of the first are ignored; a later one ends the process.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._noted_at = 0.0
        self._handlers: dict = {}

    def __enter__(self) -> "GracefulStop":
        self._handlers = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, _frame: object) -> None:
        if self.number is not None:
            if time.monotonic() - self._noted_at > SAME_SIGNAL_SECONDS:
                self._restore()
                signal.signal(number, signal.SIG_DFL)  # a wrapper's child may have been started to ignore Ctrl-C
                os.kill(os.getpid(), number)
            return
        self.number, self._noted_at = number, time.monotonic()
        message = f"\n{signal.Signals(number).name}: finishing this step, then saving; once more stops at once\n"
        os.write(2, message.encode())  # print may have been interrupted itself, and is not reentrant

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

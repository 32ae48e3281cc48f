"""SIGTERM and Ctrl-C as a wish to stop at the next safe point; a second one stops at once."""

import os
import signal
import time

SAME_SIGNAL_SECONDS = 2.0  # seconds: Ctrl-C goes to a wrapper or launcher too, which passes it on


class GracefulStop:
    """Context in which the first SIGTERM or SIGINT is only noted, in `number`, and others within SAME_WISH are not."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._noted = 0.0
        self._before: dict = {}

    def __enter__(self) -> "GracefulStop":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, _frame: object) -> None:
        if self.number is not None:
            if time.monotonic() - self._noted > SAME_SIGNAL_SECONDS:
                self._restore()
                signal.signal(number, signal.SIG_DFL)  # a wrapper's child may have been started to ignore Ctrl-C
                os.kill(os.getpid(), number)
            return
        self.number, self._noted = number, time.monotonic()
        said = f"\n{signal.Signals(number).name}: finishing this step, then saving; once more stops at once\n"
        os.write(2, said.encode())  # print may have been interrupted itself, and is not reentrant

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

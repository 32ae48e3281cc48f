"""SIGTERM and Ctrl-C as a wish to stop at the next safe point; a second one stops at once."""

import os
import signal


class Interruption:
    """Context in which the first SIGTERM or SIGINT is only noted, in `number`."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict = {}

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, _frame: object) -> None:
        self.number = number
        self._restore()
        said = f"\n{signal.Signals(number).name}: finishing this step, then saving; once more stops at once\n"
        os.write(2, said.encode())  # print may have been interrupted itself, and is not reentrant

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

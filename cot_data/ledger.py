"""Answers on disk: one line of JSON each, appended and synced when it arrives, so that no paid answer is lost."""

import asyncio
import fcntl
import json
import os
from pathlib import Path

from tlrec import paths
from tlrec.errors import InputError


class Ledger:
    """The answers of one teacher with one set of settings; one process at a time writes them.

    A line that a killed process left unfinished is cut off; InputError names any other line that cannot be read.
    """

    def __init__(self, path: Path):
        self.path, self.cost = path, 0.0
        self._answers: dict[str, str] = {}
        paths.writable_directory(path.parent)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise InputError(f"{path}: another run is writing its answers; wait for it, or stop it") from None
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._file, whole)
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                self._remember(json.loads(line))
            except (ValueError, TypeError, KeyError, RecursionError):
                raise InputError(f"{path}: line {number} is no answer; remove that line") from None

    def get(self, request: str) -> str | None:
        """The answer to a request, by its hash."""
        return self._answers.get(request)

    async def append(self, record: dict) -> None:
        """Put one record on the disk; `answer` is None for a reply that was paid for but could not be used."""
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        end = os.fstat(self._file).st_size
        try:
            while line:
                line = line[os.write(self._file, line) :]
            self._remember(record)
            await asyncio.to_thread(os.fsync, self._file)
        except OSError as error:
            if line:  # the next answer would be glued to what is there of this one
                os.ftruncate(self._file, end)
            raise InputError(f"{self.path}: {error.strerror}") from None

    def close(self) -> None:
        os.close(self._file)

    def _remember(self, record: dict) -> None:
        answer, request, cost = record["answer"], record["request"], record["cost"]
        if not (isinstance(answer, str | None) and isinstance(request, str) and 0 <= cost < 1e9):
            raise ValueError
        if answer is not None:
            self._answers.setdefault(request, answer)
        self.cost += cost

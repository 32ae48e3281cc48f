"""The replies of a server on disk: one line of JSON each, appended and synced when it arrives."""

import asyncio
import os
from pathlib import Path

from pydantic import BaseModel, Field

from tlrec import files, paths
from tlrec.errors import InputError

Parameters = dict[str, bool | int | float]  # of a request (temperature, max_tokens ...): those that the server supports


class LedgerLine(BaseModel, strict=True, frozen=True):
    """One reply of a server."""

    request: str  # SHA-256 of settings, sample, step and prompt
    sample: int
    step: int
    model: str
    parameters: Parameters  # of the request
    answer: str | None  # None for a reply that was paid for but could not be used
    cut_off: bool  # at the limit of its length
    served_by: str  # the model that the server names
    prompt_tokens: int
    completion_tokens: int
    tokens_estimated: bool  # the server did not report them
    cost: float = Field(ge=0, lt=1e9, allow_inf_nan=False)  # dollars
    seconds: float


class Ledger:
    """The replies of one model with one set of settings, so that no paid answer is lost or requested twice.

    One process at a time writes it, under a lock on the file itself, which leaves no lock file. An incomplete last
    line, of a killed process, is cut off; InputError names any other line that is invalid. cost: dollars spent so far.
    parameters: those of the last request. cut_off: requests whose replies were too long for an answer.
    served_by: the models that the server named.
    """

    def __init__(self, path: Path):
        self.path, self.cost = path, 0.0
        self.parameters: Parameters | None = None
        self.cut_off: set[str] = set()
        self.served_by: set[str] = set()
        self._answers: dict[str, str] = {}
        paths.writable_directory(path.parent)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if not files.lock(self._file, path):  # before anything is paid for
                raise InputError(f"{path}: another run is writing its answers; wait for it, or stop it")
            content = files.read_bytes(path, "")
            complete = content.rfind(b"\n") + 1
            if complete < len(content):
                os.ftruncate(self._file, complete)
            for number, line in enumerate(content[:complete].splitlines(), 1):
                self._remember(files.validate(LedgerLine, line, f"{path}: line {number}", "remove that line"))
        except InputError:
            self.close()
            raise

    def get(self, request: str) -> str | None:
        """The answer to a request, by its hash."""
        return self._answers.get(request)

    async def append(self, record: LedgerLine) -> None:
        """Append a record and sync it to the disk; InputError, and no part of it written, where that fails."""
        line = record.model_dump_json().encode() + b"\n"
        end = os.fstat(self._file).st_size
        try:
            while line:
                line = line[os.write(self._file, line) :]
            self._remember(record)
            await asyncio.to_thread(os.fsync, self._file)
        except OSError as error:
            if line:  # the next line would be glued to the written part of this one
                os.ftruncate(self._file, end)
            raise InputError(f"{self.path}: {error.strerror}") from None

    def close(self) -> None:
        os.close(self._file)

    def _remember(self, record: LedgerLine) -> None:
        if record.answer is not None:
            self._answers.setdefault(record.request, record.answer)
        elif record.cut_off:
            self.cut_off.add(record.request)
        self.parameters = record.parameters
        self.served_by.add(record.served_by)
        self.cost += record.cost

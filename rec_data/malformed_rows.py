"""Which row of a text file is wrong, where its reader cannot tell: unclosed quotation marks, invalid JSON lines."""

import csv
import gzip
import io
import json
from collections.abc import Container
from pathlib import Path
from typing import IO, cast

from tlrec.errors import InputError

_BLOCK_BYTES = 1 << 24
_ALWAYS_CHECKED = 1 << 26  # bytes: about a second


def open_bytes(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else open(path, "rb")


def check_quotes(path: Path, delimiter: str, rows: int) -> None:
    """InputError names the row with a quotation mark that is not closed, which makes the rows after it one value.

    Of a file above 64 MiB the slow check is only made where it has more lines than rows, or its last line opens a
    quotation.
    """
    lines, quoted, end = 0, False, b""
    with open_bytes(path) as stream:
        while block := stream.read(_BLOCK_BYTES):
            lines, quoted = lines + max(block.count(b"\n"), block.count(b"\r")), quoted or b'"' in block
            end = (end + block)[-_BLOCK_BYTES:]
    lines += not end.endswith((b"\n", b"\r"))
    last = end.rstrip()[max(end.rstrip().rfind(b"\n"), 0) :]
    large = path.stat().st_size > _ALWAYS_CHECKED
    if not quoted or large and lines <= rows + 1 and last.count(b'"') % 2 == 0:
        return
    row = 1
    with io.TextIOWrapper(cast(IO[bytes], open_bytes(path)), "utf-8-sig", errors="replace", newline="") as text:
        try:
            for record in csv.reader(text, delimiter=delimiter, strict=True):
                row += bool(record)
        except csv.Error as error:
            raise InputError(f"{path}: row {row}: a quotation mark is not closed, or one inside a quoted value is not "
                             f"doubled ({error}); mend that row") from None


def check_json_rows(path: Path, names: set[str], ids: Container[str] = ()) -> None:
    """InputError names the first row that is not a JSON object, holds text that is not Unicode, or whose value in one
    of the columns is of another type than in the rows before. ids: columns where 1 and 1.0 are two types."""
    kinds: dict[str, type] = {}
    with open_bytes(path) as stream:
        for row, line in enumerate(stream, 1):
            try:
                values = json.loads(line) if line.strip() else {}
                json.dumps(values, ensure_ascii=False).encode()
            except UnicodeEncodeError:
                raise InputError(f"{path}: row {row} holds a lone surrogate (half of a character, as \\ud83d); mend "
                                 "that line") from None
            except (ValueError, RecursionError):
                values = None
            if not isinstance(values, dict):
                raise InputError(f"{path}: row {row} is not a JSON object; mend or remove that line")
            for name in names & set(values):
                value = values[name]
                kind = float if type(value) is int and name not in ids else type(value)
                if isinstance(value, list | dict) or value is not None and kinds.setdefault(name, kind) is not kind:
                    raise InputError(f"{path}: row {row}, column {name}: {str(value)[:40]!r} is a list, an object, or "
                                     "of another type than before; write the column as texts or as numbers")

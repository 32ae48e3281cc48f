"""Files that recommend.py reads: titles (CSV, TSV, JSON or text), and the users to rank for (JSON)."""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from tlrec import files
from tlrec.data import samples
from tlrec.data.samples import Text
from tlrec.errors import InputError
from tlrec.evaluation.ranking import Profile

TITLE_COLUMNS = ("title", "movie_name", "item_name", "name")
DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class _User:
    """A record of --users."""

    user: Text | int = "1"
    liked: list[Text] = Field(default_factory=list)
    disliked: list[Text] = Field(default_factory=list)


def read_titles(path: Path) -> list[str]:
    """The distinct titles of a file, in its order. InputError where there is none, or the file cannot be read."""
    content = files.read_bytes(path, "name a CSV file with a column `title`")
    suffix = path.suffix.lower()
    if suffix in (".json", ".jsonl"):
        titles = _json_titles(path)
    elif suffix in DELIMITERS:
        titles = _column(path, csv_rows(path, utf8_text(path, content), DELIMITERS[suffix]))
    else:  # not splitlines(), which also splits at U+2028 and other characters that a title may hold
        lines = re.split(r"\r\n|\r|\n", utf8_text(path, content))
        titles = lines[lines[0].strip().lower() in TITLE_COLUMNS :]
    distinct = list(dict.fromkeys(filter(None, (title.strip() for title in titles))))
    if not distinct:
        raise InputError(f"{path}: no titles; give one a line")
    return distinct


def utf8_text(path: Path, content: bytes) -> str:
    """The text of a file whose bytes were read. InputError where it is in another encoding."""
    try:
        text = content.decode("utf-8-sig")
        wrong = "it holds NUL bytes" if "\0" in text else ""
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wrong = f"byte 0x{content[error.start]:02x} in line {line}"
    if wrong:
        raise InputError(f"{path}: not UTF-8 ({wrong}); save it as UTF-8, as with `iconv -f LATIN1 -t UTF-8` or "
                         "`iconv -f UTF-16 -t UTF-8`")
    return text


def csv_rows(path: Path, text: str, delimiter: str = ",", strict: bool = True) -> list[list[str]]:
    """The rows of a CSV text. InputError names the line where one begins that is not valid.

    strict: refuse a quotation mark that is not closed; else the last row ends with the text.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict)
    rows: list[list[str]] = []
    line = 1
    try:
        for row in reader:
            rows.append(row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}: line {line}: not valid CSV ({error}); close its quotation marks, write a mark "
                         "inside a quoted field twice, and keep fields below 131,072 characters") from None
    return rows


def _column(path: Path, rows: list[list[str]]) -> Iterable[str]:
    header = [name.strip().lower() for name in rows[0]] if rows else []
    column = next((header.index(name) for name in TITLE_COLUMNS if name in header), None)
    if column is None:
        raise InputError(f"{path}: no column `title` (its columns: {', '.join(header)[:200] or 'none'}); name it so")
    return (row[column] for row in rows[1:] if len(row) > column)


def _json_titles(path: Path) -> Iterable[str]:
    for number, record in enumerate(samples.read_json_records(path)):
        named = [record.get(name) for name in TITLE_COLUMNS if name in record] if isinstance(record, dict) else [record]
        if not named or not isinstance(named[0], str) or "\0" in named[0]:
            raise InputError(f"{path}: record {number}: no title; give a list of titles, or of records with the text "
                             "`title`")
        yield named[0]


def read_users(path: Path) -> list[Profile]:
    """The users of a JSON file: a list of records, or one user's record. InputError names the record that is wrong."""
    records = files.read_json(path, "a list of records with user, liked and disliked")
    records = [records] if isinstance(records, dict) else records
    if not isinstance(records, list) or not records:
        raise InputError(f"{path}: not a list of records with user, liked and disliked, or an empty one")
    known = [field.name for field in fields(_User)]
    profiles: dict[str, Profile] = {}
    for number, record in enumerate(records):
        where = f"{path}: record {number}"
        unknown = [name for name in record if name not in known] if isinstance(record, dict) else []
        if unknown:
            raise InputError(f"{where}: unknown field {unknown[0][:60]!r}; the fields are {', '.join(known)}")
        user = files.validate(_User, record, where, "give user, liked and disliked")
        if not user.liked and not user.disliked:
            raise InputError(f"{where}: no title liked or disliked; give at least one")
        if not all(title.strip() for title in (*user.liked, *user.disliked)):
            raise InputError(f"{where}: an empty title in liked or disliked; remove it")
        name = str(user.user)
        if name in profiles:
            raise InputError(f"{where}: duplicate user {name[:60]!r}, as in record {list(profiles).index(name)}; give "
                             "each user one record")
        profiles[name] = Profile(name, user.liked, user.disliked)
    return list(profiles.values())

"""Ratings and items of any origin: CSV, TSV, JSON lines, Parquet, RecBole's .inter and .item, MovieLens' .dat; text may
end in .gz.

Columns are known by the names that public datasets give them, or named by the user. All are read as text; numbers and
times are parsed from it, so that an error can name the row and the column.
"""

import codecs
import contextlib
import csv
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pa_parquet

from rec_data.column_names import recognise
from rec_data.column_values import CATEGORY, Table
from rec_data.malformed_rows import check_json_rows, check_quotes, open_bytes
from tlrec.data.split_files import check_id_lengths
from tlrec.errors import InputError

DAT_COLUMNS = {3: ["item", "title", "genres"], 4: ["user", "item", "rating", "timestamp"]}  # MovieLens': no header
BLOCK_BYTES = 1 << 24
Choose = Callable[..., dict[str, str]]  # recognise() from its names on
FORMATS = {**dict.fromkeys((".csv", ".tsv", ".inter", ".item", ".dat"), "CSV"),
           **dict.fromkeys((".jsonl", ".ndjson", ".json"), "JSON"), ".parquet": "Parquet"}


def read(path: str, roles: dict[str, str | None], needed: list[str], noun: str) -> Table:
    """The columns of these roles, with the names that the user gave for some; a role that is not needed may be missing.

    InputError where the file cannot be read, a named column is missing, or a needed one is not recognised.
    """
    file = Path(path)
    kind = FORMATS.get(Path(file.name.removesuffix(".gz")).suffix.lower())
    if kind is None:
        raise InputError(f"{file}: its ending is none of {', '.join(FORMATS)} (.gz after it); rename it")
    if not file.is_file():
        raise InputError(f"{file}: {'not a regular file' if file.exists() else 'no such file'}; name a file of ratings "
                         "or items")
    try:
        with open_bytes(file) as stream:
            head = stream.read(1 << 20)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InputError(f"{file}: is UTF-16; save it as UTF-8")
        reader = {"CSV": _read_csv, "JSON": _read_json, "Parquet": _read_parquet}[kind]
        table = reader(file, head, functools.partial(recognise, file, roles, needed, noun))
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, csv.Error, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise InputError(f"{file}: cannot be read ({error.strerror})") from None
        reason = " ".join(str(error).split())[:160]
        whole = kind == "Parquet" or file.suffix == ".gz" and isinstance(error, OSError | EOFError)
        cure = "download or write it again" if whole else "mend that row, or save it again as UTF-8"
        raise InputError(f"{file}: not valid {kind} ({reason}); {cure}") from None
    if not len(next(iter(table.columns.values()))):
        raise InputError(f"{file}: holds no rows")
    for role in {"user", "item"} & set(table.columns):
        codes, texts = table.codes(role)
        check_id_lengths(file, table.names[role], np.pad(np.array([*map(len, texts)])[codes], (table.first_row, 0)))
    print(f"{file}: " + ", ".join(f"{role} = {name}" for role, name in table.names.items()), flush=True)
    return table


def _read_csv(path: Path, head: bytes, choose: Choose) -> Table:
    first = head.decode("utf-8-sig", errors="replace").splitlines()[:1]
    if not first or not first[0].strip():
        raise InputError(f"{path}: {'row 1 is blank' if head.strip() else 'empty'}; row 1 holds the columns' names")
    source: Path | pa.Buffer = path
    header = not path.name.removesuffix(".gz").endswith(".dat")
    if header:
        delimiter = max("\t,;|", key=first[0].count)
        quotes = False if path.name.removesuffix(".gz").endswith((".inter", ".item")) else '"'
        names = next(csv.reader(first, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE))
    else:
        delimiter, quotes, names = "\t", False, DAT_COLUMNS.get(first[0].count("::") + 1, [])
        if not names:
            raise InputError(f"{path}: row 1 is not `user::item::rating::timestamp` or `item::title::genres`")
        with open_bytes(path) as stream:
            source = pa.py_buffer(stream.read().replace(b"::", b"\t"))
    columns = choose(names)

    def table(threads: bool) -> pa.Table:
        return pa_csv.read_csv(
            source if header else pa.BufferReader(source), pa_csv.ReadOptions(
                block_size=BLOCK_BYTES, use_threads=threads, column_names=[] if header else names),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, quote_char=quotes, newlines_in_values=bool(quotes)),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(dict.fromkeys(columns.values())), null_values=[""], strings_can_be_null=True,
                column_types={name: pa.string() if role == "timestamp" else CATEGORY
                              for role, name in columns.items()}))
    try:
        content = table(True)
    except pa.ArrowInvalid:
        try:
            content = table(False)  # again, as it then names the row
        except pa.ArrowInvalid as error:
            if match := re.search(r"column #(\d+): Row #(\d+): .*invalid UTF8", str(error)):
                raise InputError(f"{path}: row {match[2]}, column {names[int(match[1])]}: not UTF-8; save the file as "
                                 "UTF-8") from None
            if quotes:
                check_quotes(path, delimiter, 0)
            raise
    if quotes:
        check_quotes(path, delimiter, len(content))
    return _table(path, content, columns, 2 if header else 1)


def _read_json(path: Path, head: bytes, choose: Choose) -> Table:
    lines = (head[: head.rfind(b"\n") + 1] or head).splitlines()
    if lines[:1] and lines[0].lstrip()[:1] == b"[":
        raise InputError(f"{path}: a JSON list; write one object a line (.jsonl)")
    try:
        rows = [json.loads(line) for line in lines if line.strip()]
        nested = {name for row in rows for name, value in row.items() if isinstance(value, list | dict)}
        columns = choose(list(dict.fromkeys(name for row in rows for name in row)), nested)
    except (ValueError, TypeError, RecursionError):
        check_json_rows(path, set())
        raise
    types = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    schema = {}
    for name in columns.values():
        kinds = {type(row.get(name)) for row in rows} - {type(None)}
        schema[name] = pa.float64() if float in kinds else types.get(next(iter(kinds), str), pa.null())

    def content(schema: dict[str, pa.DataType]) -> pa.Table:
        return pa_json.read_json(path, pa_json.ReadOptions(block_size=BLOCK_BYTES), pa_json.ParseOptions(
            explicit_schema=pa.schema(schema.items()), unexpected_field_behavior="ignore"))

    with contextlib.suppress(pa.ArrowInvalid):
        return _table(path, content(schema), columns, 1)
    ids = {columns[role] for role in ("user", "item") if role in columns}
    for name in [name for name, kind in schema.items() if kind == pa.int64()]:
        try:
            content({name: pa.int64()})
        except pa.ArrowInvalid:  # an id of more than 64 bits; or a fraction after many whole numbers
            schema[name] = pa.decimal256(76, 0) if name in ids else pa.float64()
    with contextlib.suppress(pa.ArrowInvalid):
        return _table(path, content(schema), columns, 1)
    check_json_rows(path, set(columns.values()), ids)
    raise InputError(f"{path}: not one JSON object a line; write it again")


def _read_parquet(path: Path, head: bytes, choose: Choose) -> Table:
    with pa_parquet.ParquetFile(path) as file:
        nested = {field.name for field in file.schema_arrow if pa.types.is_nested(field.type)}
        columns = choose(file.schema_arrow.names, nested)
        return _table(path, file.read(list(dict.fromkeys(columns.values()))), columns, 1)


def _table(path: Path, content: pa.Table, names: dict[str, str], first_row: int) -> Table:
    columns = {}
    for role, name in names.items():
        column, kind = content[name], pa.string() if role == "timestamp" else CATEGORY
        if pa.types.is_nested(column.type):
            raise InputError(f"{path}: column {name} holds lists or objects, {role} needs texts or numbers")
        if role in ("user", "item") and pa.types.is_floating(column.type):
            inexact = pc.greater_equal(pc.abs(column.cast(pa.float64())), 2.0**53).fill_null(False).to_numpy()
            if inexact.any():
                raise InputError(f"{path}: row {int(inexact.argmax()) + first_row}, column {name}: an id beyond 2**53 "
                                 "as a floating-point number has lost digits; write the ids as integers or as text")
        column = column if column.type == kind else column.cast(pa.string())
        if kind == CATEGORY:
            column = (column if column.type == kind else column.dictionary_encode()).unify_dictionaries()
            texts = column.chunk(0).dictionary if column.num_chunks else pa.array([], pa.string())
            trimmed = pc.utf8_trim_whitespace(texts)
            if not trimmed.equals(texts) or pc.any(pc.equal(texts, "")).as_py():
                column = pc.utf8_trim_whitespace(column.cast(pa.string()))
                column = pc.if_else(pc.equal(column, ""), None, column).dictionary_encode().unify_dictionaries()
        else:
            column = pc.if_else(pc.equal(column, ""), None, column)
        columns[role] = column
    table = Table(path, names, columns, first_row)
    table.check_texts()
    return table

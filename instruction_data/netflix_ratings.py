"""The rating files of the Netflix Prize, read in blocks with numpy instead of line by line."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from tlrec.errors import InputError

BLOCK = 1 << 20  # bytes parsed at a time, so that the arrays fit into the processor's cache
WIDTH = 22  # the longest rating line: nine digits of user, a rating, a date, two commas
DATE = slice(WIDTH - 10, WIDTH)
POWERS = 10 ** np.arange(8, -1, -1, dtype=np.int32)


class Ratings(NamedTuple):
    """Arrays of shape (ratings,), in file order. Dates are numbers like 20050906, which sort as their text does."""

    users: np.ndarray  # int32
    movies: np.ndarray  # int16
    likes: np.ndarray  # int8
    dates: np.ndarray  # int32


def read_ratings(files: Iterable[tuple[str, BinaryIO]]) -> Ratings:
    """All ratings of the files (name, content), in the order of their names. InputError names an invalid line."""
    named = sorted(((name, part) for name, file in files for part in _parse(file, name)), key=lambda pair: pair[0])
    parts = [part for _, part in named]
    if not parts:
        raise InputError("training_set: no rating file mv_0000001.txt; download the data again")
    columns = []
    for column in range(4):  # column by column, so that only one is in memory twice
        columns.append(np.concatenate([part[column] for part in parts]))
        for part in parts:
            part[column] = None
    return Ratings(*columns)


def _parse(file: BinaryIO, name: str) -> Iterator[list]:
    movie, lines, rated = None, 0, True
    for block in _line_blocks(file):
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == ord("\n"))
        is_header = data[ends - 1] == ord(":")
        headers = np.flatnonzero(is_header)
        numbers = [_movie(_line(data, ends, row), name, lines + row) for row in headers.tolist()]
        is_header[0] = False  # the padding before the block counts as line 0
        rows = np.flatnonzero(~is_header)[1:]
        if movie is None and len(rows) and (not len(headers) or rows[0] < headers[0]):
            raise _invalid(name, lines + rows[0], _line(data, ends, rows[0]), "a rating before any `N:` header")
        users, ratings, dates = _ratings(data, ends, rows, name, lines)
        movies = np.array([movie or 0, *numbers], dtype=np.int16)[np.cumsum(is_header)[rows]]
        yield [users, movies, (ratings > 3).astype(np.int8), dates]
        movie = numbers[-1] if numbers else movie
        rated = rows[-1] > headers[-1] if len(rows) and len(headers) else bool(len(rows))
        lines += len(ends) - 1
    if movie is None or not rated:
        problem = f"ends with the header of movie {movie}" if movie else "holds no rating"
        raise InputError(f"{name}: {problem}; the file is truncated; download it again")


def _line_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Blocks of complete lines, each after a line of padding, so that every line has WIDTH bytes before it."""
    padding, rest = b" " * WIDTH + b"\n", b""
    while block := file.read(BLOCK):
        block = rest + block
        end = block.rfind(b"\n") + 1
        rest = block[end:]
        if len(rest) > 1000:
            raise InputError(f"{getattr(file, 'name', 'the rating file')}: not lines of text; is it the right file?")
        if end:
            yield padding + block[:end].replace(b"\r\n", b"\n")
    if rest.strip():
        yield padding + rest.rstrip() + b"\n"


def _ratings(
    data: np.ndarray, ends: np.ndarray, rows: np.ndarray, name: str, lines: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, ratings and dates of the lines `rows`, read from the end of each: only the user has no fixed width."""
    widths = ends[rows] - ends[rows - 1] - 1
    text = np.lib.stride_tricks.sliding_window_view(data, WIDTH)[ends[rows] - WIDTH]  # (rows, WIDTH), a copy
    user_digits = np.arange(9) >= (WIDTH - widths)[:, None]  # to its left is the previous line
    digits = text - ord("0")  # wraps around below "0", so anything but a digit is over 9
    date = digits[:, DATE]
    commas = (text[:, 9] == ord(",")) & (text[:, 11] == ord(","))
    dashes = (date[:, 4] == 253) & (date[:, 7] == 253)  # "-" is three below "0"
    date_digits = (np.delete(date, (4, 7), axis=1) <= 9).all(axis=1)
    users_are_numbers = ((digits[:, :9] <= 9) | ~user_digits).all(axis=1)
    rating = digits[:, 10]
    valid = (widths > 13) & (widths <= WIDTH) & commas & dashes & date_digits & users_are_numbers
    valid &= (rating >= 1) & (rating <= 5)
    if not valid.all():
        row = rows[np.flatnonzero(~valid)[0]]
        raise _invalid(name, lines + row, _line(data, ends, row), "neither `user,rating,YYYY-MM-DD` nor `N:`")
    users = (digits[:, :9] * user_digits) @ POWERS
    day = np.delete(date, (4, 7), axis=1) @ POWERS[1:]
    return users, rating, day


def _line(data: np.ndarray, ends: np.ndarray, row: int) -> str:
    return bytes(data[ends[row - 1] + 1 : ends[row]]).decode("latin-1")


def _movie(line: str, name: str, number: int) -> int:
    if not line[:-1].isdigit() or not 0 < int(line[:-1]) < 1 << 15:
        raise _invalid(name, number, line, "not a movie's header `N:`")
    return int(line[:-1])


def _invalid(name: str, number: int, line: str, reason: str) -> InputError:
    return InputError(f"{name}: line {number} {line[:60]!r} is {reason}; the file is truncated or not Netflix's")

import random

import numpy as np
import pytest

from tlrec.data import sliding_windows


def row_by_row(users: list, times: list) -> list[list[int]]:
    """Windows the slow way."""
    taken: dict = {}
    for number, user in enumerate(users):
        taken.setdefault(user, []).append(number)
    spans = []
    for numbers in taken.values():
        numbers.sort(key=lambda number: str(times[number]))
        spans += [numbers[end - 10 : end + 1] for end in range(10, len(numbers))]
    return spans


@pytest.mark.parametrize("last", [None, 1, 7, 50, 10_000])
@pytest.mark.parametrize("seed", range(5))
def test_sliding_windows_equal_a_plain_loop(seed, last):
    generator = random.Random(seed)
    users = [generator.choice("abcdefg") for _ in range(200)]
    times = [generator.choice([9, 10, 100, 1000, 99]) for _ in range(200)]  # as text: 10 < 100 < 1000 < 9 < 99
    expected = row_by_row(users, times)
    found = sliding_windows.sliding_windows(np.array(users, dtype=object), np.array(times), last)
    assert found.tolist() == (expected if last is None else expected[-last:])


@pytest.mark.parametrize("count", [0, 1, 10])
def test_sliding_windows_of_fewer_than_eleven_rows_are_empty(count):
    assert sliding_windows.sliding_windows(np.zeros(count), np.arange(count)).shape == (0, 11)
    assert sliding_windows.sliding_windows(np.zeros(count), np.arange(count), 5).shape == (0, 11)


def test_sliding_windows_of_eleven_rows_is_one():
    assert sliding_windows.sliding_windows(np.zeros(11), np.arange(10, 21)).tolist() == [list(range(11))]


def test_split_slices_are_80_10_10_percent():
    assert sliding_windows.split_slices(10_000) == {
        "train": slice(0, 8000), "valid": slice(8000, 9000), "test": slice(9000, 10_000)}
    assert sliding_windows.split_slices(24_268)["valid"] == slice(19_414, 21_841)  # 2,427 rows, as published for book

"""Progress in a log: whole lines, with the time left, also where one step takes longer than a line's interval."""

import io
import sys

import pytest

from tlrec import progress
from tlrec.progress import Progress


def lines(capsys):
    error = capsys.readouterr().err
    assert "\r" not in error and not error.endswith("\n\n")
    return error.splitlines()


@pytest.mark.parametrize(("seconds", "shown"), [(15, [0, 4]), (0, [0, 1, 2, 3, 4])])
def test_lines_come_at_the_start_after_their_interval_and_at_the_end(capsys, monkeypatch, seconds, shown):
    monkeypatch.setattr(progress, "LINE_SECONDS", seconds)
    with Progress(total=4, desc="tuning", unit="step") as bar:
        for _ in range(4):
            bar.update()
        if seconds:
            bar.set_postfix_str("loss 0.5", refresh=False)
    output = lines(capsys)
    assert [line.split(",")[0] for line in output] == [f"tuning: {number} of 4 steps" for number in shown]
    assert "about" in output[0] and output[0].endswith(" left")


def test_iteration_and_notes_are_lines_too(capsys):
    bar = Progress([1, 2], desc="users", unit="user")
    for _ in bar:
        bar.note("one")
    assert capsys.readouterr().out == "one\none\n"
    Progress([1, 2], disable=True).note("two")
    assert capsys.readouterr() == ("two\n", "")


def test_terminal_gets_the_bar_of_tqdm(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress(total=2, desc="scoring", file=sys.stderr) as bar:
        bar.update(2)
    assert "\rscoring: 100%" in sys.stderr.getvalue()


def test_loss_that_comes_after_the_last_line_is_shown_at_the_end(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    with Progress(total=1, desc="tuning", unit="step") as bar:
        bar.update()
        bar.set_postfix_str("loss 0.5", refresh=False)
    assert lines(capsys)[-1].endswith(", loss 0.5")

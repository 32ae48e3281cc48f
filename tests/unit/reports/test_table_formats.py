import csv
import io

import pytest

from tlrec.errors import printable
from tlrec.reports import table_formats


def test_printable_keeps_text_and_escapes_what_steers_a_terminal():
    assert printable("Кино ☃ \"b'c") == "Кино ☃ \"b'c"
    assert printable("a\x1b[2J\nb\udce9\u202e") == r"a\x1b[2J\nb\udce9\u202e"


@pytest.mark.parametrize("name", ["a|b", "*a*", "a\nb", "`a`", "<b>", "a\x1b[2Jb", "a\\|b"])
def test_markdown_rows_hold_any_name_in_one_cell(name):
    table = table_formats.markdown([["system", "AUC"], [name, table_formats.Bold("1")]])
    lines = table.splitlines()
    assert len(lines) == 3 and table.isprintable() == table.replace("\n", "").isprintable() or "\x1b" not in table
    plain = lines[2].replace("\\\\", "").replace(r"\|", "")
    assert plain.count("|") == 3 and "**1**" in plain
    assert not any(mark in plain.replace("**1**", "").replace(rf"\{mark}", "") for mark in "*`")


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\tx"])
def test_csv_names_are_no_formulas(name):
    ((read, number),) = csv.reader(io.StringIO(table_formats.comma_separated([[name, -0.5]])))
    assert read == f"'{name}" and number == "-0.5"


def test_latex_escapes_names():
    assert r"a\_b \textbackslash{}n" in table_formats.latex([["s", "x"], ["a_b \n", "1"]], "c")

"""Text in the page's HTML."""

import html
import re

import pytest

from tlrec.demo import html_text
from tlrec.reports.table_formats import Bold

HOSTILE = ["<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "$$x$$", "${alert(1)}", "{{constructor}}",
           "@children", "<script>alert(1)</script>", '" onmouseover="alert(1)', "a & b", "`${1}`"]


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_is_read_back_as_it_was_and_holds_no_mark(text):
    shown = html_text.escaped(text)
    assert html.unescape(shown) == text and not re.search(r"[<>\"'{}$@`]", shown)
    cell = re.search("<td>(.*?)</td>", html_text.table([["head"], [text]], text))
    assert cell and cell[1] == shown
    assert shown in html_text.message(text) and f'alt="{shown}"' in html_text.image(b"<svg/>", text)


def test_markup_is_not_escaped_twice_and_control_characters_are_shown():
    assert html_text.escaped(html_text.meter(0.5)) == html_text.meter(0.5)
    assert html_text.escaped("a\x1b[2J\u202e") == "a\\x1b[2J\\u202e"
    assert "<b>1.00</b>" in html_text.table([["x"], [Bold("1.00")]], "", Bold)


def test_changes_have_a_sign_and_no_negative_zero():
    assert [html_text.change(value) for value in (0.1234, -0.0001, -0.5)] == ["+0.123", "+0.000", "&minus;0.500"]

import pytest

from tlrec.errors import InputError
from tlrec.reports import generated_blocks


def test_rewrite_refuses_a_page_that_is_not_utf8(tmp_path):
    (tmp_path / "PAGE.md").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match="PAGE.md: not UTF-8 at byte 3"):
        generated_blocks.rewrite(tmp_path / "PAGE.md")

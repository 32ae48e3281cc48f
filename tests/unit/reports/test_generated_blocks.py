from conftest import refused

from tlrec.reports import generated_blocks


def test_rewrite_refuses_a_page_that_is_not_utf8(tmp_path):
    (tmp_path / "PAGE.md").write_bytes(b"caf\xe9")
    refused("PAGE.md", generated_blocks.rewrite, tmp_path / "PAGE.md")

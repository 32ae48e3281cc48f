"""report.py: tables, figures, the blocks of the pages, the front page and the picture of the chain."""

import json
from xml.etree import ElementTree

import numpy as np
from conftest import command
from report_records import record

from tlrec import paths
from tlrec.reports import generated_blocks


def test_report_tables_of_several_files(report_runs, runs_file, tmp_path):
    other = tmp_path / "more.jsonl"
    other.write_text(json.dumps(record("DROS", 0, 16)) + "\n")
    text = command("report.py", "table", "--runs", runs_file, other, home=tmp_path)
    assert text.count("\n") == len(report_runs) + 3 and "DROS" in text and "stratified" in text and "Spearman" in text
    assert text == command("report.py", "--runs", f"{runs_file},{other}", home=tmp_path)
    assert "DROS" in command("report.py", "--runs", f"{tmp_path}/*.jsonl", home=tmp_path)
    text = command("report.py", "table1", f"--runs={runs_file}", "--output", tmp_path / "t" / "table1", home=tmp_path)
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["table1.csv", "table1.md", "table1.tex"]
    assert text.startswith((tmp_path / "t" / "table1.md").read_text())
    latex = (tmp_path / "t" / "table1.tex").read_text()
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == latex.count(r"\begin{table}") == 4
    text = command("report.py", "--runs", tmp_path / "none.jsonl", home=tmp_path, code=2)
    assert "none.jsonl: no such file" in text and text.count("\n") == 1


def test_report_figures_writes_valid_images(runs_file, tmp_path):
    import matplotlib.image
    from PIL import Image

    text = command("report.py", "figures", "--runs", runs_file, "--output", tmp_path / "figures", home=tmp_path)
    names = ["auc_against_shots_movie", "chain_stages_movie", "auc_by_user_movie", "reliability_movie",
             "auc_against_shots_book", "reliability_book"]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(
        f"{name}.{ending}" for name in names for ending in ("png", "svg"))
    assert "no auc_by_user_book" in text  # users are unknown there
    for name in names:
        with Image.open(tmp_path / "figures" / f"{name}.png") as image:
            image.verify()
        pixels = matplotlib.image.imread(tmp_path / "figures" / f"{name}.png")
        assert pixels.shape[1] > 1000 and pixels[..., :3].min() < 0.1
        assert np.ptp(pixels[..., :3], axis=2).max() < 0.02  # grey already
        svg = (tmp_path / "figures" / f"{name}.svg").read_text()
        assert svg.startswith("<?xml") and svg.rstrip().endswith("</svg>") and "<path" in svg


def test_report_readme_rewrites_blocks_in_place(runs_file, tmp_path):
    page = tmp_path / "PAGE.md"
    frame = f"a\n<!-- python report.py table1 --runs {runs_file} -->\n%s\n<!-- end -->\nb\n<!-- end -->\n"
    page.write_text(frame % "TABLE")
    assert "1 block filled" in command("report.py", "readme", "--path", page, home=tmp_path)
    table = command("report.py", "table1", "--runs", runs_file, home=tmp_path).rstrip("\n")
    assert page.read_text() == frame % table
    assert generated_blocks.blocks(page.read_text()) == [
        (["python", "report.py", "table1", "--runs", str(runs_file)], table)
    ]
    command("report.py", "readme", "--path", page, home=tmp_path)
    assert page.read_text() == frame % table
    page.write_text(frame.replace(str(runs_file), "none.jsonl"))
    text = command("report.py", "readme", "--path", page, home=tmp_path, code=2)
    assert "none.jsonl: no such file" in text and page.read_text().count("%s") == 1


def test_committed_pages_equal_the_output_of_their_commands():
    """Where this fails: `python report.py readme`, and read what changed."""
    blocks = [block for page in generated_blocks.pages()
              for block in generated_blocks.blocks(page.read_text(encoding="utf-8"))]
    assert blocks
    for words, shown in blocks:
        assert shown == generated_blocks.printed(words), f"{' '.join(words)} prints another table"


def test_report_summary_of_the_reference_records_has_at_most_twelve_rows():
    text = command("report.py", "summary", home=paths.ROOT)
    rows = front_page_rows(text)
    assert 2 < len(rows) <= 13 and "error" not in text and text == command(
        "report.py", "summary", "--runs", "results/reference/*/runs.jsonl", home=paths.ROOT)


def front_page_rows(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]


def test_report_chain_draws_text_for_light_and_dark_pages(tmp_path):
    drawn = tmp_path / "docs" / "chain.svg"
    assert str(drawn) in command("report.py", "chain", "--output", drawn, home=tmp_path)
    root = ElementTree.fromstring(drawn.read_bytes())
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"base model", "alpaca", "CoT tuning", "source domain", "zero-shot", "few-shot tuning"} <= texts
    width, height = map(int, root.get("viewBox").split()[2:])
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert int(box.get("x")) + int(box.get("width")) <= width and int(box.get("y")) < height
    assert "prefers-color-scheme: dark" in drawn.read_text()
    assert drawn.read_bytes() == (paths.ROOT / "docs" / "chain.svg").read_bytes()  # else: `python report.py chain`

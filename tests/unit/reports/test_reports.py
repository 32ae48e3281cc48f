"""Tables and figures from a made-up record; the README's blocks."""

import csv
import io
import json
import resource
import statistics
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import command

from tlrec import paths
from tlrec.errors import InputError
from tlrec.evaluation import metrics, run_log
from tlrec.reports import figures, front_page, generated_blocks, records, table1, tables

GENERATOR = np.random.default_rng(0)
USERS = np.repeat([f"u{n}" for n in range(6)], 20)
LABELS = np.tile([0, 1, 1, 0, 1], 24)
COUNTS = np.stack([np.arange(120) % 11, 10 - np.arange(120) % 11], axis=1)


def record(system, seed=None, shots=None, chain=(), base=None, domain="movie", path="test", **more):
    """A record as evaluate.py writes it, of made-up scores."""
    scores = np.clip(GENERATOR.random(120) + 0.1 * LABELS, 0, 1)
    name = f"run-{GENERATOR.integers(1 << 40):x}"
    return {
        "system": system, "experiment": "", "method": "llm" if base else system, "run_id": name,
        "base_model": base, "chain": [stage for stage, _ in chain], "rows_of_chain": [rows for _, rows in chain],
        "shots": shots, "seed": seed, "train_domain": domain, "test_domain": domain, "tuning_seconds": 1, "seconds": 1,
        "test_data": {"path": f"rec_data/{domain}/{path}.json", "sha256": domain, "rows": 120,
                      "sampled_with_seed": None},
        "metrics": metrics.evaluate(LABELS, scores, USERS if domain == "movie" else None, COUNTS), "commit": None,
        "arguments": {}, "commands": [], "versions": {},
        "request": {"id": name}, "time": f"2026-01-{GENERATOR.integers(1, 28):02}"} | more


@pytest.fixture(scope="module")
def made():
    netflix, base = [("netflix", 512)], "smollm2-135m"
    return [
        record("liked-ratio"),
        *(record("GRU4Rec", seed, shots) for shots in (16, 64) for seed in range(3)),
        record("SASRec", 0, 8000),
        record("item-mean", None, 8000),
        record("x", None, None, [], base),
        *(record("x", seed, None, netflix, base) for seed in range(2)),
        record("x", 0, 16, [*netflix, ("movie", 16)], base),
        record("x", 0, 64, [("book", 64)], base, train_domain="book"),
        record("Caser", 0, 16, domain="book"),
    ]


@pytest.fixture(scope="module")
def file(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("record") / "runs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def test_table_1_averages_over_seeds_and_stands_beside_the_published(made):
    texts = table1.render([*records.cells(made), *records.published_cells()])
    rows = list(csv.DictReader(io.StringIO(texts["csv"])))
    (gru,) = [row for row in rows if (row["system"], row["shots"]) == ("GRU4Rec", "16")]
    aucs = [run["metrics"]["auc"] for run in made if (run["system"], run["shots"]) == ("GRU4Rec", 16)]
    assert float(gru["auc"]) == pytest.approx(statistics.fmean(aucs), abs=1e-6) and gru["seeds"] == "3"
    assert float(gru["auc_sd"]) == pytest.approx(np.std(aucs, ddof=1), abs=1e-6) and gru["n"] == "120"
    lows = [run["metrics"]["auc_interval_users"][0] for run in made if (run["system"], run["shots"]) == ("GRU4Rec", 16)]
    assert float(gru["auc_low"]) == pytest.approx(statistics.fmean(lows), abs=1e-6)
    figures = f"{100 * statistics.fmean(aucs):.2f} ± {100 * statistics.stdev(aucs):.2f}"
    assert f"{figures} (3)" in texts["md"] and figures.replace("±", r"$\pm$") in texts["tex"]
    beside = next(line for line in texts["md"].splitlines() if line.startswith("| GRU4Rec") and f" {figures} " in line
                  and "ours" not in line)
    assert beside.split("|")[-2].strip() == "49.07"  # GRU at 16 shots, TALLRec's Table 1
    movie, book = texts["md"].split("### book/test")
    header = next(line for line in movie.splitlines() if line.startswith("| system"))
    assert [cell.strip() for cell in header.split("|")[3:-1]] == ["zero-shot", "16", "64", "256", "8,000"]
    assert "| Caser " in book and "published" in book


def test_the_best_of_a_column_is_bold_and_what_was_not_run_is_blank(made):
    cells = {(cell.system, cell.shots): cell.auc for cell in records.cells(made) if cell.domain == "movie"}
    rows, _ = table1.grid([cell for cell in records.cells(made) if cell.domain == "movie"])
    for column, shots in ((2, 0), (3, 16)):
        best = max((auc, name) for (name, count), auc in cells.items() if count == shots)[1]
        assert [row[0] for row in rows if row[column].startswith("*")] == [best]
    assert next(row for row in rows if row[0] == "liked-ratio")[3:] == ["", "", "", ""]
    published, _ = table1.grid([cell for cell in records.published_cells() if cell.domain == "movie"])
    assert [row[0] for row in published if row[4].startswith("*")] == ["TLRec (latest block)"]
    everything = [*records.cells(made), *records.published_cells()]
    both, _ = table1.grid([cell for cell in everything if cell.domain == "movie"])
    ours = {row[0] for row in both if row[3].startswith("*") and row[1] == "ours"}  # the best of each, not of both
    assert len(ours) == 1 and [row[0] for row in both if row[3].startswith("*") and row[1] == "published"] == [
        "TLRec (latest block)"]
    assert tables.markdown([["a"], ["*1"]]).endswith("| **1** |")
    assert r"\textbf{1\%}" in tables.latex([["a", "b"], ["", "*1%"]], "c")


def test_systems_are_named_by_their_chain_without_the_shots(made):
    names = {(cell.system, cell.shots): cell for cell in records.cells(made) if cell.group == "language models"}
    chain = "smollm2-135m + netflix (512 rows)"
    assert set(names) == {("smollm2-135m", 0), (chain, 0), (chain, 16), ("smollm2-135m + book (64 rows)", 0)}
    assert names[chain, 0].seeds == 2


def test_runs_that_cannot_be_averaged_are_left_out_with_a_note(made):
    sampled = record("GRU4Rec", 7, 16)
    sampled["test_data"]["sampled_with_seed"] = 0
    valid, twin = record("GRU4Rec", 8, 16, path="valid"), record("SASRec", 0, 8000, time="2027-01-01")
    kept, notes = records.on_full_split([*made, sampled, valid, twin], "test")
    assert len(kept) == len(made) and twin in kept
    for word, note in zip(("sample of 120", "not on test", "same seed"), notes, strict=True):
        assert word in note
    other = record("GRU4Rec", 9, 16)
    other["test_data"]["sha256"] = "another"
    with pytest.raises(InputError, match="different files movie/test"):
        records.on_full_split([*made, other], "test")


def test_commands_read_several_files_and_write_tables(made, file, tmp_path):
    other = tmp_path / "more.jsonl"
    other.write_text(json.dumps(record("DROS", 0, 16)) + "\n")
    text = command("report.py", "table", "--runs", file, other, home=tmp_path)
    assert text.count("\n") == len(made) + 3 and "DROS" in text and "stratified" in text and "Spearman" in text
    assert text == command("report.py", "--runs", f"{file},{other}", home=tmp_path)
    assert "DROS" in command("report.py", "--runs", f"{tmp_path}/*.jsonl", home=tmp_path)
    text = command("report.py", "table1", f"--runs={file}", "--output", tmp_path / "t" / "table1", home=tmp_path)
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["table1.csv", "table1.md", "table1.tex"]
    assert text.startswith((tmp_path / "t" / "table1.md").read_text())
    latex = (tmp_path / "t" / "table1.tex").read_text()
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == latex.count(r"\begin{table}") == 4
    text = command("report.py", "--runs", tmp_path / "none.jsonl", home=tmp_path, code=2)
    assert "none.jsonl: no such file" in text and text.count("\n") == 1


def test_the_strip_names_whom_it_leaves_out_and_shows_means_over_seeds(made, tmp_path):
    old = record("Caser", 0, 16)
    del old["metrics"]["auc_by_user"]
    drawn, notes = figures.draw([*made, old], tmp_path)
    assert "auc_by_user_movie leaves out Caser, 16 rows: a record of it has no AUC by user" in notes
    assert tmp_path / "auc_by_user_movie.png" in drawn and not [note for note in notes if "SASRec" in note]
    inside = [run for run in made if run["test_domain"] == "movie"]
    axis = figures.auc_by_user(inside, "movie").axes[0]
    labels = [tick.get_text() for tick in axis.get_yticklabels()]
    runs = [run["metrics"]["uauc"] for run in made if (run["system"], run["shots"]) == ("GRU4Rec", 64)]
    assert len(runs) == 3 and axis.texts[labels.index("GRU4Rec, 64 rows")].get_text() == f"{np.mean(runs):.3f}"


def test_no_room_for_a_figure_leaves_the_earlier_one(made, tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    figures.draw(made, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        with pytest.raises(InputError, match=r"auc_against_shots_movie\.png: cannot be written"):
            figures.draw(made, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_figures_are_real_images(file, tmp_path):
    import matplotlib.image
    from PIL import Image

    text = command("report.py", "figures", "--runs", file, "--output", tmp_path / "figures", home=tmp_path)
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


def test_lines_that_are_no_record_are_named(made, tmp_path):
    path = tmp_path / "runs.jsonl"
    lacking = {name: value for name, value in made[0].items() if name != "metrics"}
    for line, message in ((None, "line 2 is not a record"), ([1], "line 2 is not a record"),
                          (lacking, "line 2: metrics is missing")):
        path.write_text(f"{json.dumps(made[1])}\n{json.dumps(line)}\n")
        with pytest.raises(InputError, match=f"runs.jsonl: {message}"):
            records.read_runs([str(path)])


@pytest.mark.parametrize("change", [
    {"commands": None}, {"commands": [1]}, {"seed": True}, {"metrics": {"n": True}},
    {"metrics": {"n": 8, "auc": 1e305}},
    {"metrics": {"n": 8, "auc_interval_users": [0.5]}}, {"metrics": {"n": 8, "auc_interval_users": [0.5, None]}},
    {"metrics": None}, {"metrics": {}}, {"metrics": {"n": 8, "auc": "x"}},
    {"metrics": {"n": 8, "auc_interval_rows": 5}},
    {"seconds": "x"}, {"system": None}, {"chain": "movie"}, {"chain": ["a"], "rows_of_chain": [1, 2]},
    {"test_data": "x"}, {"test_data": {"path": 5, "sha256": ""}}, {"base_model": 1}, {"test_domain": 1}, {"run_id": 1},
    {"predictions": 1}, {"request": None}, {"arguments": None}, {"versions": None}, {"adapter": "x"},
    {"adapter": {"path": "x", "data": 1}},
], ids=str)
def test_an_invalid_record_is_named_in_one_line(made, tmp_path, change):
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(made[0]) + "\n" + json.dumps(made[0] | change) + "\n")
    field, value = list(change.items())[-1]
    if isinstance(value, dict) and field == "metrics":  # what lacks `n` is named for that
        field = f"metrics.{list(value)[-1] if value else 'n'}"
    with pytest.raises(InputError, match=f"runs.jsonl: line 2: {field}.*; remove that line") as error:
        records.read_runs([str(path)])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("line", ["[" * 100_000, '{"auc": NaN}'], ids=["deep", "nan"])
def test_a_line_that_json_has_not_is_none_and_as_a_tail_blocks_nothing(tmp_path, monkeypatch, line):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    path = tmp_path / "results" / "runs.jsonl"
    path.parent.mkdir()
    path.write_text(line + "\n{}\n")
    with pytest.raises(InputError, match="line 1 is not a record in JSON"):
        run_log.read_records(path)
    path.write_text(line)
    run_log.append_record({"value": 1})
    assert len(run_log.read_records(path)) == 1 and path.with_name("runs.jsonl.torn").read_text() == line + "\n"


def test_a_page_that_is_not_utf8(tmp_path):
    (tmp_path / "PAGE.md").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match="PAGE.md: not UTF-8 at byte 3"):
        generated_blocks.rewrite(tmp_path / "PAGE.md")


def test_a_readmes_blocks_are_rewritten_in_place(file, tmp_path):
    page = tmp_path / "PAGE.md"
    frame = f"a\n<!-- python report.py table1 --runs {file} -->\n%s\n<!-- end -->\nb\n<!-- end -->\n"
    page.write_text(frame % "TABLE")
    assert "1 blocks filled" in command("report.py", "readme", "--path", page, home=tmp_path)
    table = command("report.py", "table1", "--runs", file, home=tmp_path).rstrip("\n")
    assert page.read_text() == frame % table
    assert generated_blocks.blocks(page.read_text()) == [
        (["python", "report.py", "table1", "--runs", str(file)], table)
    ]
    command("report.py", "readme", "--path", page, home=tmp_path)
    assert page.read_text() == frame % table
    page.write_text(frame.replace(str(file), "none.jsonl"))
    text = command("report.py", "readme", "--path", page, home=tmp_path, code=2)
    assert "none.jsonl: no such file" in text and page.read_text().count("%s") == 1


def test_the_pages_show_what_their_commands_print():
    """Where this fails: `python report.py readme`, and read what changed."""
    blocks = [block for page in generated_blocks.pages()
              for block in generated_blocks.blocks(page.read_text(encoding="utf-8"))]
    assert blocks
    for words, shown in blocks:
        assert shown == generated_blocks.printed(words), f"{' '.join(words)} prints another table"


def test_the_front_page_shows_ours_beside_the_published(made):
    rows = front_page_rows(front_page.render([*records.cells(made), *records.published_cells()]))
    assert rows[0] == ["system", "zero-shot", "16", "64", "256", "8,000", "UAUC"] and len(rows) <= 13
    by_system = {row[0]: row[1:] for row in rows}
    cells = {(cell.system, cell.shots): cell for cell in records.cells(made) if cell.domain == "movie"}
    gru = cells["GRU4Rec", 16]
    assert by_system["GRU"][1] == f"{100 * gru.auc:.2f} (49.07)"
    assert by_system["GRU"][-1] == f"{100 * cells['GRU4Rec', 64].uauc:.2f}"
    assert by_system["GRU"][3] == "(52.89)" and by_system["TALLRec, LLaMA-7B"][:3] == ["", "(67.24)", "(67.48)"]
    model = by_system["ours: smollm2-135m + netflix (512 rows)"]
    assert model[1].endswith("†") and not model[0].endswith("†")  # two seeds zero-shot, one at 16 shots


def test_the_reference_records_fill_a_front_page_of_at_most_twelve_rows():
    text = command("report.py", "summary", home=paths.ROOT)
    rows = front_page_rows(text)
    assert 2 < len(rows) <= 13 and "error" not in text and text == command(
        "report.py", "summary", "--runs", "results/reference/*/runs.jsonl", home=paths.ROOT)


def front_page_rows(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]


def test_the_picture_of_the_chain_is_drawn_as_text_for_light_and_dark_pages(tmp_path):
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

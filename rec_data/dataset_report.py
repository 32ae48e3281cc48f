"""A table of datasets: sizes, labels, lengths, duplicates, and the overlap of source and target.

    python -m rec_data.dataset_report rec_data/movie instruction_data/movielens --tokenizer base_model/llama-7b

Datasets are folders under the home folder, or single JSON files. The first under rec_data, or --target, is the target
that the others are compared with. A duplicate is a sample whose text, answer aside, occurs elsewhere as well. A source
row leaks where its target item with the same history, in any order, is a row of the target's test set. Users are
counted where the id view has them; the published book data does not.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tlrec import cli, paths
from tlrec.data import preference_text
from tlrec.data.datasets import SPLITS
from tlrec.data.id_csv import known_users, read_id_view
from tlrec.data.samples import Sample, read_samples
from tlrec.errors import InputError
from tlrec.model import prompts
from tlrec.reports.table_formats import markdown
from tlrec.signature_flags import PathText


class Dataset:
    """The splits of a folder with their parsed histories and, where there is an id view, their users."""

    def __init__(self, name: str):
        self.name = name.rstrip("/")
        path = paths.home_dir() / name
        files = [path] if path.is_file() else [path / f"{split}.json" for split in SPLITS]
        self.splits: dict[str, list[Sample]] = {
            file.stem: read_samples(file, answers_only=False) for file in files if file.is_file()
        }
        if not self.splits:
            raise InputError(f"{path}: no train.json, valid.json or test.json; name a dataset's folder or a JSON file")
        self.histories = {
            split: [preference_text.parse(sample.input) for sample in samples] for split, samples in self.splits.items()
        }
        views = {split: read_id_view(files[0].with_name(f"{split}.json"), samples)
                 for split, samples in self.splits.items()}
        self.users = {split: known_users(view and view.table) for split, view in views.items()}

    def titles(self) -> set[str]:
        return {entry for part in self.histories.values() for history in part if history for entry in history.entries()}

    def all_users(self) -> set[str] | None:
        known = [part for part in self.users.values() if part is not None]
        return set().union(*known) if len(known) == len(self.users) else None


def length_counter(folder: str) -> Callable[[str], int]:
    """A function from text to its number of tokens. Reads tokenizer.json or tokenizer.model, without torch."""
    path = Path(folder)
    try:
        if (path / "tokenizer.json").is_file():
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
            tokenizer.no_truncation()  # the file may hold a truncation, and every length would be its limit
            tokenizer.no_padding()
            return lambda text: len(tokenizer.encode(text).ids)
        if (path / "tokenizer.model").is_file():
            from sentencepiece import SentencePieceProcessor

            pieces = SentencePieceProcessor(model_file=str(path / "tokenizer.model"))
            return lambda text: len(pieces.encode(text, add_bos=True))
    except Exception as error:  # both libraries raise plain Exceptions
        raise InputError(f"{path}: its tokenizer cannot be read ({' '.join(str(error).split())[:120]})") from None
    raise InputError(f"{path}: no tokenizer.json or tokenizer.model; --tokenizer takes a base model's folder")


def token_lengths(samples: list[Sample], count: Callable[[str], int]) -> np.ndarray:
    """Tokens of each sample, shape (n,), with template, answer and the end-of-text token that tuning appends."""
    return np.array([count(prompts.format_prompt(sample) + sample.output) for sample in samples]) + 1


def within(dataset: Dataset, split: str, count: Callable[[str], int] | None, cutoff: int) -> dict[str, str]:
    """Cells of one split."""
    samples = dataset.splits[split]
    parsed = [history for history in dataset.histories[split] if history]
    titles = [len(history.entries()) - 1 for history in parsed]
    texts = [(sample.instruction, sample.input) for sample in samples]
    users, answers = dataset.users[split], [sample.output for sample in samples]
    entries = {entry for history in parsed for entry in history.entries()}
    elsewhere = Counter(
        (sample.instruction, sample.input)
        for other, part in dataset.splits.items() if other != split for sample in part
    )
    cells = {
        "rows": f"{len(samples):,}",
        "share of Yes": f"{np.mean([answer == 'Yes.' for answer in answers]):.3f}" if parsed else "-",
        "titles per prompt (mean, min-max)": f"{np.mean(titles):.1f}, {min(titles)}-{max(titles)}" if titles else "-",
        "users": f"{len(set(users)):,}" if users is not None else "-",
        "users with both answers": "-" if users is None else f"{_count_with_both(users, answers):,}",
        "items (distinct entries)": f"{len(entries):,}" if parsed else "-",
        "duplicates within the split": f"{len(texts) - len(set(texts)):,}",
        "rows that other splits have as well": f"{sum(text in elsewhere for text in texts):,}",
    }
    if count:
        lengths = token_lengths(samples, count)
        median, percentile_95 = np.percentile(lengths, [50, 95]).astype(int)
        cells["tokens (median, 95%, most)"] = f"{median}, {percentile_95}, {lengths.max()}"
        cells[f"samples over {cutoff} tokens"] = f"{int((lengths > cutoff).sum()):,}"
    return cells


def between(source: Dataset, target: Dataset) -> dict[str, str]:
    """Cells that compare a source with the target."""
    users, target_users = source.all_users(), target.all_users()
    tests = [history for history in target.histories.get("test", []) if history]
    test_rows = {(history.target_entry(), _bag(history)) for history in tests}
    rows = [history for part in source.histories.values() for history in part if history]
    leaks = sum((history.target_entry(), _bag(history)) in test_rows for history in rows)
    return {
        f"users that {target.name} has as well": f"{len(users & target_users):,}" if users and target_users else "-",
        f"titles that {target.name} has as well": f"{len(source.titles() & target.titles()):,}",
        f"rows that stand in the test set of {target.name} (leakage)": f"{leaks:,}" if tests else "-",
    }


def _count_with_both(users: np.ndarray, answers: list[str]) -> int:
    answered = set(zip(users, answers, strict=True))
    return sum((user, "Yes.") in answered and (user, "No.") in answered for user in set(users))


def _bag(history: preference_text.History) -> tuple[str, ...]:
    return tuple(sorted([*history.liked, *history.disliked]))


def table(columns: list[tuple[str, dict[str, str]]]) -> str:
    """A Markdown table from (title, {row name: cell}) columns."""
    names = list(dict.fromkeys(name for _, cells in columns for name in cells))
    rows = [[name, *(cells.get(name, "") for _, cells in columns)] for name in names]
    return markdown([["", *(title for title, _ in columns)], *rows])


def main(
    *names: str, target: PathText | None = None, tokenizer: PathText | None = None, cutoff_len: int = 512
) -> None:
    """Print a table of the datasets. Folders come first, as in `rec_data/movie instruction_data/netflix`.

    Args:
        target: the dataset that the others are compared with (default: the first under rec_data)
        tokenizer: a base model's folder, for token lengths
        cutoff_len: the cut-off of tuning, in tokens
    """
    if not names:
        raise InputError("name a dataset first, as in `python -m rec_data.dataset_report rec_data/movie`")
    count = length_counter(tokenizer) if tokenizer else None
    datasets = [Dataset(name) for name in names]
    targets = [dataset for dataset in datasets if dataset.name.startswith("rec_data")]
    target_dataset = Dataset(target) if target else targets[0] if targets else None
    columns = []
    for dataset in datasets:
        for split in dataset.splits:
            columns.append((f"{dataset.name}/{split}", within(dataset, split, count, cutoff_len)))
        if target_dataset and dataset.name != target_dataset.name:
            columns.append((f"{dataset.name} (all)", between(dataset, target_dataset)))
    print(table(columns))


if __name__ == "__main__":
    cli.run(main)

"""Row-by-row reference implementation of the datasets: a dictionary of lists per user, as published. Plain and slow.

It shares no code with the fast implementation, so equal bytes prove both.
"""

import ast
import csv
import json
import random
from pathlib import Path

import pandas as pd

HEADER = ["user_id", "history_movie_id", "history_rating", "movie_id", "rating", "timestamp"]


def netflix(raw: Path, out: Path, files: int = 1) -> None:
    lists: dict[str, list] = {}
    for number in range(1, files + 1):
        with open(raw / f"combined_data_{number}.txt") as lines:
            for line in lines:
                if line.endswith(":\n"):
                    movie = line[:-2]
                    continue
                user, rating, date = line.rstrip("\n").split(",")
                lists.setdefault(user, []).append((movie, int(int(rating) > 3), date))
    texts = {}
    with open(raw / "movie_titles.csv", encoding="ISO-8859-1", newline="") as lines:
        for movie, year, *title in csv.reader(lines):
            texts[movie] = f'"{"".join(title)} ({year if year != "NULL" else "<NA>"})"'
    _windows(lists, texts, "movie", out)


def amazon_book(raw: Path, out: Path) -> None:
    reviews = pd.read_csv(raw / "Books_rating.csv")[["Id", "Title", "User_id", "review/score", "review/time"]]
    reviews = reviews.drop_duplicates(["Title", "User_id"])
    books = pd.read_csv(raw / "books_data.csv")[["Title", "authors", "publishedDate"]].drop_duplicates("Title")
    joined = reviews.merge(books, on="Title", how="inner")
    joined["publishedDate"] = joined["publishedDate"].str.extract(r"(\d{4})")
    joined["review/score"] = joined["review/score"].astype(int)
    joined = joined.dropna().astype(str)
    lists: dict[str, list] = {}
    texts: dict[str, str] = {}
    for _, row in joined.iterrows():
        lists.setdefault(row["User_id"], []).append(
            (row["Id"], int(int(row["review/score"]) > 4), row["review/time"])
        )
        texts.setdefault(row["Id"], f'"{row["Title"]}" written by {row["authors"][2:-2]}')
    _windows(lists, texts, "book", out)


def book_crossing(raw: Path, out: Path, seed: int = 42) -> None:
    options = {"sep": ";", "encoding": "latin-1", "dtype": {"ISBN": str, "User-ID": str}}
    ratings = pd.read_csv(raw / "BX-Book-Ratings.csv", **options)
    books = pd.read_csv(raw / "BX-Books.csv", on_bad_lines="skip", **options)
    lists: dict[str, list] = {}
    for _, row in ratings.merge(books, on="ISBN", how="inner").iterrows():
        entry = f'"{row["Book-Title"]}" written by {row["Book-Author"]}'
        lists.setdefault(row["User-ID"], []).append((entry, int(float(row["Book-Rating"]) > 5)))
    users = [user for user in lists if len(lists[user]) > 3]
    random.seed(seed)
    random.shuffle(users)
    rows = []
    for user in users:
        entries, likes = [entry for entry, _ in lists[user]], [like for _, like in lists[user]]
        for part in (entries, likes):
            random.seed(42)
            random.shuffle(part)
        rows.append([user, entries[:-1][:10], likes[:-1][:10], entries[-1], likes[-1], ""])
    _write(rows, None, "book", out)


def _windows(lists: dict[str, list], texts: dict[str, str], noun: str, out: Path) -> None:
    rows = []
    for user, ratings in lists.items():
        ratings.sort(key=lambda row: row[2])
        for end in range(10, len(ratings)):
            history = ratings[end - 10 : end]
            items, likes = [row[0] for row in history], [row[1] for row in history]
            rows.append([user, items, likes, *ratings[end]])
    _write(rows[-10_000:], texts, noun, out)


def _write(rows: list[list], texts: dict[str, str] | None, noun: str, out: Path) -> None:
    """texts: of items by id; None where the id is the text, which is then quoted as the target."""
    out.mkdir(parents=True, exist_ok=True)
    first, second = int(len(rows) * 0.8), int(len(rows) * 0.9)
    for name, part in {"train": rows[:first], "valid": rows[first:second], "test": rows[second:]}.items():
        with open(out / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEADER, *part])
        table = pd.read_csv(out / f"{name}.csv", dtype=str, keep_default_na=False)
        samples = []
        for _, row in table.iterrows():
            liked, disliked = [], []
            for item, like in zip(
                ast.literal_eval(row["history_movie_id"]), ast.literal_eval(row["history_rating"]), strict=True
            ):
                (liked if like else disliked).append(texts[item] if texts else item)
            target = texts[row["movie_id"]] if texts else f'"{row["movie_id"]}"'
            samples.append(
                {
                    "instruction": "Given the user's preference and unpreference, identify whether the user will "
                    f'like the target {noun} by answering "Yes." or "No.".',
                    "input": f"User Preference: {', '.join(liked)}\nUser Unpreference: {', '.join(disliked)}\n"
                    f"Whether the user will like the target {noun} {target}?",
                    "output": "Yes." if row["rating"] == "1" else "No.",
                }
            )
        (out / f"{name}.json").write_text(json.dumps(samples, indent=4))

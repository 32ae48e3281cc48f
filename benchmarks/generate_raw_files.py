"""Seeded raw files in the formats of Netflix, Amazon Books Reviews and Book-Crossing, at any size.

They contain the difficult cases of the real ones: commas and quotation marks in titles, missing years, authors and
dates, repeated reviews, several titles of one id, equal timestamps, broken lines, non-ASCII names. The distribution of
users is skewed, so that a few of them rate a lot.
"""

from pathlib import Path

import numpy as np

CHUNK = 1_000_000  # ratings written at a time
TITLE_WORDS = ["Night", "The", "River", "of", "Café", "Stone", "and", "Winter", "Love", "Señor", "War", "a", "Garden",
               "Sea"]
AUTHORS = ["Ann Lee", "Émile Zola", "Gabriel García Márquez", "Jo O'Neil", "N. N.", "Iñaki Q.", "Smith, Jr.", "Wu Li"]


def netflix(folder: Path, ratings: int, seed: int = 0, files: int = 1) -> None:
    """combined_data_1.txt and so on, and movie_titles.csv; `ratings` are distributed over `files`."""
    random = np.random.default_rng(seed)
    movies = max(ratings // 5_000, 20 * files)
    users = max(ratings // 50, 50)
    days = np.array([f",{day}\n" for day in np.arange("1999-11-11", "2005-12-31", dtype="datetime64[D]")])
    folder.mkdir(parents=True, exist_ok=True)
    bounds = np.sort(random.integers(0, ratings, movies - 1))
    counts = np.maximum(np.diff(np.concatenate([[0], bounds, [ratings]])), 1)
    for number in range(files):
        of_file = range(movies * number // files, movies * (number + 1) // files)
        with open(folder / f"combined_data_{number + 1}.txt", "w") as file:
            for movie in of_file:
                count = int(counts[movie])
                who = 6 + (users * random.random(count) ** 1.5).astype(int) * 7
                stars = random.integers(1, 6, count)
                when = days[random.integers(0, len(days), count)]
                lines = [f"{u},{s}{d}" for u, s, d in zip(who.tolist(), stars.tolist(), when.tolist(), strict=True)]
                file.write(f"{movie + 1}:\n{''.join(lines)}")
    with open(folder / "movie_titles.csv", "w", encoding="ISO-8859-1") as file:
        for movie in range(1, movies + 1):
            year = "NULL" if movie % 97 == 0 else 1930 + movie % 75
            file.write(f"{movie},{year},{_title(movie, netflix_style=True)}\n")


def amazon_book(folder: Path, ratings: int, seed: int = 0) -> None:
    """Books_rating.csv with its ten columns and reviews of realistic length, and books_data.csv."""
    random = np.random.default_rng(seed)
    books, users = max(ratings // 15, 40), max(ratings // 20, 20)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "books_data.csv", "w", encoding="utf-8", newline="") as file:
        file.write("Title,description,authors,image,previewLink,publisher,publishedDate,infoLink,categories,ratingsCount\n")
        for book in range(books):
            author = f"['{AUTHORS[book % 8]}']" if "'" not in AUTHORS[book % 8] else f'["{AUTHORS[book % 8]}"]'
            if book % 31 == 0:
                author = "['Ann Lee', 'Wu Li']" if book % 2 else ""
            dated = ["1999", "2005-01-01", "1985*", "", "19??"][book % 5 if book % 7 == 0 else book % 2]
            fields = [_title(book), "Long,\nand \"quoted\"", author, "", "", "P", dated, "", "['Fiction']", "3.0"]
            file.write(",".join(map(_quoted, fields)) + "\r\n")
    text = "What a book, I said. " * 20
    with open(folder / "Books_rating.csv", "w", encoding="utf-8", newline="") as file:
        file.write("Id,Title,Price,User_id,profileName,review/helpfulness,review/score,review/time,review/summary,"
                   "review/text\n")
        for start in range(0, ratings, CHUNK):
            count = min(CHUNK, ratings - start)
            book = np.sort(random.integers(0, books, count)) if ratings <= CHUNK else random.integers(0, books, count)
            user = (users * random.random(count) ** 1.5).astype(int)
            score, time = random.integers(1, 6, count), 86_400 * random.integers(10_000, 15_000, count)
            for b, u, s, t in zip(book.tolist(), user.tolist(), score.tolist(), time.tolist(), strict=True):
                title = _quoted(_title(b + (b % 50 == 0 and s == 1)))  # every fiftieth id has two titles
                who = f"A{u:X}" if u % 200 else ""
                file.write(f"B{b:09},{title},,{who},someone,0/0,{s}.0,{t},A word,\"{text}\"\n")


def book_crossing(folder: Path, ratings: int, seed: int = 0) -> None:
    """BX-Book-Ratings.csv, and BX-Books.csv with its eight columns."""
    random = np.random.default_rng(seed)
    books, users = max(ratings // 4, 40), max(ratings // 10, 20)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "BX-Books.csv", "w", encoding="latin-1", newline="") as file:
        names = ["ISBN", "Book-Title", "Book-Author", "Year-Of-Publication", "Publisher", "Image-URL-S", "Image-URL-M"]
        file.write(";".join(f'"{name}"' for name in [*names, "Image-URL-L"]) + "\r\n")
        for book in range(books):
            title = _title(book).replace('"', '\\"') if book % 3 else _title(book).replace('"', '""')
            fields = [f"{book:09}X", title, AUTHORS[book % 8], str(1950 + book % 55), "P", "s", "m", "l"]
            if book % 251 == 7:
                fields[1] += '\\";Sub'  # a stray quotation mark, after which the semicolon separates: a broken line
            file.write(";".join(f'"{field}"' for field in fields) + "\r\n")
    with open(folder / "BX-Book-Ratings.csv", "w", encoding="latin-1", newline="") as file:
        file.write('"User-ID";"ISBN";"Book-Rating"\r\n')
        for start in range(0, ratings, CHUNK):
            count = min(CHUNK, ratings - start)
            user = np.sort((users * random.random(count) ** 1.5).astype(int))
            book = random.integers(0, int(books * 1.1), count)
            rating = random.integers(0, 11, count) * random.integers(0, 2, count)
            lines = zip(user.tolist(), book.tolist(), rating.tolist(), strict=True)
            file.writelines(f'"{u}";"{b:09}X";"{r}"\r\n' for u, b, r in lines)


def _title(number: int, netflix_style: bool = False) -> str:
    words = [TITLE_WORDS[(number * step + step) % len(TITLE_WORDS)] for step in (1, 3, 5)]
    title = f"{' '.join(words)} {number}"
    if number % 11 == 0:
        title += ", Vol. 1"
    if number % 13 == 0:
        title = f'"Odd" {title}' if netflix_style else f'{title}: the "Odd" one'
    return title


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if set(field) & set(',"\n') else field

"""Which column of a file of ratings or items is the user, the rating, the title: by the names that public data has."""

import re
from collections.abc import Container
from pathlib import Path

from tlrec.errors import InputError

ALIASES = {  # by role: column names without case, punctuation and RecBole's `:type`, the likeliest first
    "user": ["user", "userid", "uid", "reviewerid", "customerid", "steamid", "username", "profilename"],
    "item": ["item", "itemid", "iid", "movieid", "bookid", "parentasin", "asin", "isbn", "productid", "gameid", "appid",
             "songid", "trackid", "businessid", "id"],
    "rating": ["rating", "bookrating", "score", "reviewscore", "overall", "stars"],
    "label": ["label", "liked", "like", "recommended", "isrecommended", "votedup"],
    "timestamp": ["timestamp", "time", "unixreviewtime", "reviewtime", "timestampcreated", "datetime", "date"],
    "split": ["split", "fold", "subset"],
    "title": ["title", "name", "itemtitle", "movietitle", "booktitle", "producttitle", "productname", "gametitle",
              "gamename", "appname", "titlewithoutseries"],
    "author": ["author", "authors", "bookauthor", "authorname"],
    "brand": ["brand", "developer", "artist", "store", "manufacturer"],
}

CURES = {"split": "; or give time, user or leave-last-out",
         "item": "; of a file of items, --items_id names another",
         "timestamp": "; where no times are known, add a column of numbers in the order of the ratings"}
def recognise(
    path: Path, roles: dict[str, str | None], needed: list[str], noun: str, names: list[str],
    nested: Container[str] = (),
) -> dict[str, str]:
    """The column of each role that the file has. nested: columns of lists and objects, taken where nothing else can be.
    """
    plain = {re.sub(r"[\W_]", "", name.lower().partition(":")[0]): name for name in reversed(names)}
    plain.pop("", None)  # of `#` or `%`
    if "user" in roles:
        plain.pop("id", None)  # of the row, or of the user
    columns = {}
    for role, given in roles.items():
        of_noun = {"item": [f"{noun}id", noun], "title": [f"{noun}title", f"{noun}name"]}.get(role, [])
        aliases = [re.sub(r"[\W_]", "", alias.lower()) for alias in [*of_noun, *ALIASES[role]]]
        named = given if given in names else next((plain[alias] for alias in aliases if alias in plain), None)
        if given and given not in names:
            raise InputError(f"{path}: no column {given!r} for --{role} among {', '.join(names)[:120]}"
                             f"{CURES.get(role, '')}")
        if named and (named not in nested or given or role in needed):  # Goodreads' authors are ids in a list
            if names.count(named) > 1:
                raise InputError(f"{path}: {names.count(named)} columns are named {named!r}; rename or remove all but "
                                 "one")
            columns[role] = named
        elif role in needed:
            raise InputError(f"{path}: no column is known as {role} among {', '.join(names)[:120]}; name it with "
                             f"--{role}; row 1 must hold the columns' names{CURES.get(role, '')}")
    if columns.get("user", columns) == columns.get("item"):
        raise InputError(f"{path}: column {columns['user']!r} is user and item at once; name two with --user and "
                         "--item")
    return columns

"""Blocks of README.md and docs/*.md that a command fills: what stands between `<!-- COMMAND -->` and `<!-- end -->`.

COMMAND is `python report.py ...`, `python -m benchmarks.roofline`, or `cat` of a file under results/reference.
"""

import re
import subprocess
import sys
from pathlib import Path

from tlrec import files, paths
from tlrec.errors import InputError

ALLOWED = r"python report\.py[^\n]*?|python -m benchmarks\.roofline|cat results/reference/[\w/-]+\.md"
BLOCK = re.compile(rf"<!-- (?P<command>{ALLOWED}) -->\n(?P<body>.*?)\n?<!-- end -->", re.DOTALL)


def pages() -> list[Path]:
    """The pages that may hold blocks."""
    return [paths.ROOT / "README.md", *sorted((paths.ROOT / "docs").glob("*.md"))]


def blocks(text: str) -> list[tuple[list[str], str]]:
    """(the command's words, what stands in the block) of each block."""
    return [(match["command"].split(), match["body"]) for match in BLOCK.finditer(text)]


def printed(words: list[str]) -> str:
    """What the command prints at the repository's root; InputError with its complaint where it fails."""
    words = [sys.executable, *words[1:]] if words[0] == "python" else words
    finished = subprocess.run(words, cwd=paths.ROOT, capture_output=True, text=True)
    if finished.returncode:
        complaint = (finished.stderr.strip().splitlines() or ["no message"])[-1].removeprefix("error: ")
        raise InputError(f"{' '.join(words)}: {complaint}")
    return finished.stdout.rstrip("\n")


def rewrite(path: Path) -> int:
    """Fill every block of the page; returns how many there are. Nothing is written where a command fails."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; convert it to UTF-8") from None
    filled = BLOCK.sub(lambda match: f"<!-- {match['command']} -->\n{printed(match['command'].split())}\n<!-- end -->",
                       text)
    files.write_atomically(path, filled)
    return len(blocks(text))

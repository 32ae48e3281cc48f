"""Blocks of the README that a command fills: what stands between `<!-- python report.py ... -->` and `<!-- end -->`."""

import re
import subprocess
import sys
from pathlib import Path

from tlrec import histories, paths
from tlrec.errors import InputError

BLOCK = re.compile(r"(?P<head><!-- python report\.py(?P<words>[^\n]*?) -->\n)(?P<body>.*?)(?P<end>\n?<!-- end -->)",
                   re.DOTALL)


def blocks(text: str) -> list[tuple[list[str], str]]:
    """(the words after `report.py`, what stands in the block) of each block."""
    return [(match["words"].split(), match["body"]) for match in BLOCK.finditer(text)]


def printed(words: list[str]) -> str:
    """What `python report.py WORDS` prints at the repository's root; InputError with its complaint where it fails."""
    finished = subprocess.run([sys.executable, "report.py", *words], cwd=paths.ROOT, capture_output=True, text=True)
    if finished.returncode:
        complaint = (finished.stderr.strip().splitlines() or ["no message"])[-1].removeprefix("error: ")
        raise InputError(f"python report.py {' '.join(words)}: {complaint}")
    return finished.stdout.rstrip("\n")


def rewrite(path: Path) -> int:
    """Fill every block of the file anew; returns how many there are. Nothing is written where a command fails."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    text = path.read_text(encoding="utf-8")
    filled = BLOCK.sub(lambda match: match["head"] + printed(match["words"].split()) + "\n<!-- end -->", text)
    histories.write_atomically(path, filled)
    return len(blocks(text))

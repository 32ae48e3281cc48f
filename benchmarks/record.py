"""The record of a benchmark: results/reference/SUBJECT/NAME.json, and its table in NAME.md."""

import json
import os
import platform
import sys
from pathlib import Path

from tlrec import files, paths
from tlrec.evaluation import run_log
from tlrec.reports.table_formats import markdown


def table(columns: dict[str, str], rows: list[dict]) -> str:
    """A Markdown table; columns: heading -> format of one row, as `{seconds:.2f}`, empty where the value is
    None or missing."""
    return markdown([list(columns), *([_cell(form, row) for form in columns.values()] for row in rows)]) + "\n"


def _cell(template: str, row: dict) -> str:
    try:
        return template.format_map(row)
    except (TypeError, KeyError):  # None takes no number format
        return ""


def write(subject: str, name: str, module: str, columns: dict[str, str], measurements: list[dict], note: str,
          below: str = "", **more: object) -> None:
    """Write results/reference/SUBJECT/NAME.json and the table() of the measurements beside it, and print the table.

    below: text that follows the table; more: entries of the record.
    """
    commit, text = run_log.git_commit(), table(columns, measurements) + below
    content = {
        "command": " ".join([f"python -m benchmarks.{module}", *sys.argv[1:]]),
        "commit": commit,
        "machine": machine(),
        **more,
        "measurements": measurements,
    }
    folder = paths.writable_directory(paths.results_dir() / "reference" / subject)
    files.write_atomically(folder / f"{name}.json", json.dumps(content, indent=1) + "\n")
    head, plus, changes = (commit or "unknown").partition("+")
    source = f"`{content['command']}`, commit {head[:12]}{plus}{changes}, {content['machine']}. {note}"
    files.write_atomically(folder / f"{name}.md", f"{text}\n{source}\n")
    print(f"{text}\n{source}")


def machine() -> str:
    """Cores, processor, whether it has bf16 instructions, and Python of this machine."""
    import torch

    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")] if Path("/proc/cpuinfo").exists() else []
    processor = names[0] if names else platform.machine()
    bf16 = "with" if torch.cpu._is_avx512_bf16_supported() else "without"
    return f"{os.cpu_count()} cores, {processor}, {bf16} bf16 instructions, Python {platform.python_version()}"

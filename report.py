"""Tables, comparisons and figures from the records of evaluations.

    python report.py                                       every evaluation in results/runs.jsonl
    python report.py table --experiment quickstart --output results/quickstart.json
    python report.py table1 --runs results/reference/*/runs.jsonl --output results/table1
    python report.py published                             every published figure with its source
    python report.py summary                               the front page's table
    python report.py ml_1m                                 MovieLens-1M in CoLLM's split, ours beside the published
    python report.py crossdomain                           tuned on movie, book, both; tested on movie, book
    python report.py compare RUN_A RUN_B
    python report.py figures --output results/figures
    python report.py chain --output docs/chain.svg         a picture of the stages
    python report.py rerun RUN                             the commands that make a run again; is all as it was?
    python report.py readme                                fill the blocks of README.md and docs/ anew
    python report.py commands > docs/commands.md           the help of every command on one page
"""

import gc
from collections.abc import Callable

from tlrec import cli
from tlrec.reports import report_commands

COMMANDS: dict[str, Callable[..., None]] = {
    "table": report_commands.table,
    "table1": report_commands.table_1,
    "published": report_commands.print_published,
    "summary": report_commands.summary,
    "ml_1m": report_commands.ml_1m,
    "crossdomain": report_commands.cross_domain_grid,
    "compare": report_commands.compare_runs,
    "figures": report_commands.draw_figures,
    "chain": report_commands.draw_chain,
    "rerun": report_commands.rerun_commands,
    "readme": report_commands.fill_pages,
    "commands": report_commands.print_help_page,
}

if __name__ == "__main__":
    gc.disable()  # records are many and hold no cycles: the search for cyclic garbage would double the time
    cli.run_commands(COMMANDS, default="table")

"""Tables, comparisons and figures from the records of evaluations.

    python report.py                                       every evaluation in results/runs.jsonl
    python report.py table --experiment quickstart --output results/quickstart.json
    python report.py table1 --runs results/reference/*/runs.jsonl --output results/table1
    python report.py summary                               the front page's table
    python report.py compare RUN_A RUN_B
    python report.py figures --output results/figures
    python report.py chain --output docs/chain.svg         a picture of the stages
    python report.py rerun RUN                             the commands that make a run again; is all as it was?
    python report.py readme                                fill the blocks of README.md and docs/ anew
    python report.py commands > docs/commands.md           the help of every command on one page
"""

from tlrec import cli
from tlrec.reports import commands

COMMANDS = {
    "table": commands.table,
    "table1": commands.table_1,
    "summary": commands.summary,
    "compare": commands.compare_runs,
    "figures": commands.draw_figures,
    "chain": commands.draw_chain,
    "rerun": commands.rerun_commands,
    "readme": commands.fill_pages,
    "commands": commands.print_help_page,
}

if __name__ == "__main__":
    cli.run_commands(COMMANDS, default="table")

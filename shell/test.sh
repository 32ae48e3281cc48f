#!/usr/bin/env bash
# Set up, lint (ruff, mypy, import-linter), and run the tests.
#
#     bash shell/test.sh [pytest arguments]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
say "tests"
set_up
pick_base_model
need_target_data movie
cd "$ROOT"
"$PYTHON" -m ruff check .
"$PYTHON" -m mypy
"$PYTHON" -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
"$PYTHON" -m pytest -n 2 --dist loadfile "$@"

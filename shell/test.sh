#!/usr/bin/env bash
# Set up, lint (ruff, mypy, import-linter), and run the tests.
#
#     bash shell/test.sh [pytest arguments]
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
say "tests"
run -m base_model.prepare smollm2-135m
run -m rec_data.movielens --folder rec_data/movie
cd "$ROOT"
"$PYTHON" -m ruff check .
"$PYTHON" -m mypy
"$PYTHON" -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
"$PYTHON" -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@" # as listed: slow files first

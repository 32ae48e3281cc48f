#!/usr/bin/env bash
# Check this installation on a GPU in about five minutes; prints a table to paste into a bug report.
#
#     bash ./shell/check_gpu.sh GPU [--flags of benchmarks/check_gpu.py]
#     bash ./shell/check_gpu.sh 0
#
# GPU     CUDA device number, several with commas (0,1 checks two processes too), gpu for the first one, or cpu
# The embedded model, and BASE_MODEL (default: llama-7b where it is in base_model/): 8-bit load, scores against recorded CPU scores,
# two tuning steps, adapter saved and reloaded, speed and memory. Exit code 1 where a check fails.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments check_gpu "$@"

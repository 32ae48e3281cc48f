#!/usr/bin/env bash
# Systems x shots x seeds on TARGET over a list of GPUs, one cell (system, shots, seed) per GPU at a time.
#
#     bash ./shell/sweep.sh TARGET
#     GPUS="0 1" SEEDS="0 1 2" SYSTEMS="tlrec GRU4Rec" bash ./shell/sweep.sh movie
#
# TARGET   movie, book, ml-1m, or another dataset that is prepared (docs/your-own-data.md)
# GPUS     each entry works off cells on its own: CUDA device numbers, gpu for the first one, or cpu (default: gpu)
# SYSTEMS  tlrec (few_shot.sh), tallrec (instruct_7B.sh), or names of baselines (default: both and the six baselines)
# SHOTS, SEEDS   (default: "16 64 256" and "0 1 2 3 4")
# LLM_FLAGS, BASELINE_FLAGS, CHAIN_FLAGS   flags for tlrec and tallrec, for baselines, for the chain of tlrec
# SOURCE, ALPACA, COT, COT_SAMPLES         as in few_shot.sh
# What is recorded is skipped, so the same command goes on after a stop. Several sweeps may share one folder, each cell is
# locked while it runs (docs/many-gpus.md). Its output is results/sweep/TARGET/CELL.log. Failed cells are listed at the
# end, with exit code 1; Ctrl-C and SIGTERM end the running cells, a tuning after its step, saved, with 130 or 143.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments sweep "$@"

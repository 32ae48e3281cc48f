#!/usr/bin/env bash
# TALLRec on movie and book at once: as many samples of each, joined; every adapter is evaluated on both.
#
#     bash ./shell/instruct_multi_7B.sh GPU SEED [--select_on both|first] [--flags of rec_tuning.py and evaluate.py]
#
# GPU, SEED, SHOTS, ALPACA   as in instruct_7B.sh
# --select_on  first: the validation rows of movie alone choose the checkpoint, as published (default: those of both)
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments instruct_multi_7B "$@"

#!/usr/bin/env bash
# TALLRec: alpaca adapter -> rec-tuning on 16, 64 and 256 samples, with no TLRec stage; each tuned and evaluated.
#
#     bash ./shell/instruct_7B.sh GPU SEED [--flags of rec_tuning.py and evaluate.py]
#     bash ./shell/instruct_7B.sh 0 0
#
# GPU, SEED   as in few_shot.sh
# TARGET  movie, book, ml-1m, or another dataset that is prepared (default: movie)
# SHOTS   shot counts (default: "16 64 256"; published: 64)
# ALPACA  skip: start without the alpaca adapter
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments instruct_7B "$@"

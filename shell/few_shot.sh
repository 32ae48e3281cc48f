#!/usr/bin/env bash
# TLRec, few-shot: the zero-shot chain, then 16, 64 and 256 samples of TARGET, each tuned and evaluated.
#
#     bash ./shell/few_shot.sh GPU SEED TARGET [--flags of rec_tuning.py and evaluate.py]
#     bash ./shell/few_shot.sh 0 0 movie
#
# GPU     CUDA device number, gpu for the first one, or cpu
# SEED    of the few-shot subset, the initialisation, the order and the dropout
# TARGET  movie, book, ml-1m, or another dataset that is prepared (docs/your-own-data.md)
# SOURCE       source domain of the chain (default: netflix for movie, amazon-book for book; else it must be given)
# SHOTS        shot counts (default: "16 64 256")
# CHAIN_FLAGS  flags for zero_shot.sh, to make the chain again where they ask for it (default: what is finished is kept)
# ALPACA, COT, COT_SAMPLES   as in zero_shot.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments few_shot "$@"

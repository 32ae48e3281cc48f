#!/usr/bin/env bash
# The conventional baselines: GRU, Caser, SASRec, DROS, GRU-BERT and DROS-BERT, trained and tested at every shot count.
#
#     bash ./shell/baselines.sh GPU SEED TARGET [--flags of baselines/grid.py]
#     bash ./shell/baselines.sh cpu 0 movie
#     bash ./shell/baselines.sh cpu 0,1,2,3,4 movie --system GRU4Rec,DROS
#
# GPU     CUDA device number, gpu for the first one, or cpu; the models are small, a CPU will do
# SEED    of the few-shot subset, the initialisation, the order and the dropout; several with commas
# TARGET  movie, book, ml-1m, or another dataset that is prepared (docs/your-own-data.md)
# SHOTS   shot counts (default: "16 64 256 all")
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments baselines "$@"

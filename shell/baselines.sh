#!/usr/bin/env bash
# The conventional baselines: GRU, Caser, SASRec, DROS, GRU-BERT and DROS-BERT, trained and tested at every shot count.
#
#     bash ./shell/baselines.sh GPU SEED TARGET [--flags of baselines/train.py]
#     bash ./shell/baselines.sh cpu 0 movie
#     bash ./shell/baselines.sh cpu 0,1,2,3,4 movie --system GRU4Rec,DROS
#
# GPU     CUDA device number, gpu for the first one, or cpu; the models are small, a CPU will do
# SEED    of the few-shot subset, the initialisation, the order and the dropout; several with commas
# TARGET  movie | book
#
# SHOTS   shot counts (default: "16 64 256 all")
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
usage 3 "$@"
GPU=$1 SEED=$2 TARGET=$3
shift 3
one_of TARGET "$TARGET" movie book
[[ $SEED =~ ^[0-9]+(,[0-9]+)*$ ]] || die "SEED '$SEED' is not a whole number, nor several with commas"
SHOTS=${SHOTS-16 64 256 all}
check_shots $SHOTS

say "baselines: $TARGET, seed $SEED"
use_gpu "$GPU"
set_up
split_flags baselines.train --system all --shots "${SHOTS// /,}" --skip_recorded True --experiment baselines -- "$@"
need_target_data "$TARGET"
run -m baselines.grid --target "$TARGET" --seed "$SEED" ${FLAGS[@]+"${FLAGS[@]}"}

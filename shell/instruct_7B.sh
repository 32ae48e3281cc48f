#!/usr/bin/env bash
# TALLRec: alpaca adapter -> rec-tuning on 16, 64 and 256 samples, with no TLRec stage; each tuned and evaluated.
#
#     bash ./shell/instruct_7B.sh GPU SEED [--flags of rec_tuning.py and evaluate.py]
#     bash ./shell/instruct_7B.sh 0 0
#
# GPU   CUDA device number, gpu for the first one, or cpu
# SEED  of the few-shot subset, the initialisation, the order and the dropout
#
# TARGET  movie | book (default: movie)
# SHOTS   shot counts (default: "16 64 256"; published: 64)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
usage 2 "$@"
GPU=$1 SEED=$2 TARGET=${TARGET:-movie}
shift 2
one_of TARGET "$TARGET" movie book
check_seeds "$SEED"
check_shots ${SHOTS-16 64 256}

say "TALLRec: $TARGET, seed $SEED"
use_gpu "$GPU"
set_up
TALLREC=(--num_epochs 200 --select_by auc --keep_checkpoints 1)
split_flags rec_tuning,evaluate "${TALLREC[@]}" -- "$@"
pick_base_model
start_of_chain "$TARGET"
need_target_data "$TARGET"
CHAIN=${CHAIN:-untuned}
few_shots "${TALLREC[@]}" -- "$@"

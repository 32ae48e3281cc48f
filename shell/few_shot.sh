#!/usr/bin/env bash
# TLRec, few-shot: the zero-shot chain, then 16, 64 and 256 samples of TARGET, each tuned and evaluated.
#
#     bash ./shell/few_shot.sh GPU SEED TARGET [--flags of rec_tuning.py and evaluate.py]
#     bash ./shell/few_shot.sh 0 0 movie
#
# GPU     CUDA device number, gpu for the first one, or cpu
# SEED    of the few-shot subset, the initialisation, the order and the dropout
# TARGET  movie | book
#
# SOURCE       source domain of the chain (default: netflix for movie, amazon-book for book)
# SHOTS        shot counts (default: "16 64 256")
# CHAIN_FLAGS  flags for zero_shot.sh (default: those that the chain was made with)
# COT          skip: a chain without the chain-of-thought stage
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
usage 3 "$@"
GPU=$1 SEED=$2 TARGET=$3
shift 3
one_of TARGET "$TARGET" movie book
[[ $SEED =~ ^[0-9]+$ ]] || die "SEED '$SEED' is not a whole number"
if [ "$TARGET" = movie ]; then SOURCE=${SOURCE:-netflix}; else SOURCE=${SOURCE:-amazon-book}; fi
one_of SOURCE "$SOURCE" netflix amazon-book movielens

say "few-shot: $TARGET, seed $SEED"
use_gpu "$GPU"
set_up
split_flags rec_tuning,evaluate -- "$@"
pick_base_model
start_of_chain "$TARGET"
need_target_data "$TARGET"
pick_cot "$SOURCE"
CHAIN=$(joined ${CHAIN:+"$CHAIN"} $(cot_name) "$SOURCE")
START=$TLREC_HOME/instruction_model/$BASE/$TARGET/$CHAIN
read -ra CHAIN_WORDS <<<"${CHAIN_FLAGS:-}"
if [ -z "${CHAIN_FLAGS:-}" ] && [ -f "$START.flags" ]; then
    mapfile -d '' -t CHAIN_WORDS <"$START.flags"
fi
say "the zero-shot chain, $START: what is finished with these data and settings is reused"
BASE_MODEL=$BASE_MODEL PYTHON=$PYTHON bash "$ROOT/shell/zero_shot.sh" "$GPU" "$TARGET" "$SOURCE" \
    ${CHAIN_WORDS[@]+"${CHAIN_WORDS[@]}"}
few_shots "$@"

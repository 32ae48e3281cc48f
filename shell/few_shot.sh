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
# CHAIN_FLAGS  flags for zero_shot.sh (default: those that the chain was made with); what is finished is reused
# COT          skip: a chain without the chain-of-thought stage
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
usage 3 "$@"
GPU=$1 SEED=$2 TARGET=$3
shift 3
one_of TARGET "$TARGET" movie book
check_seeds "$SEED"
check_shots ${SHOTS-16 64 256}
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
if [ -f "$START/tlrec.json" ] && [ -z "${CHAIN_FLAGS:-}" ] && [ ! -f "$START/zero_shot_flags" ]; then
    note "zero-shot chain: $START, taken as it is; zero_shot.sh did not make it"
else
    # its stages judge themselves, by their manifests: the user's own flags, else those that the chain was made with
    CHAIN_WORDS=()
    if [ -n "${CHAIN_FLAGS:-}" ]; then
        read -ra CHAIN_WORDS <<<"$CHAIN_FLAGS"
    elif [ -f "$START/zero_shot_flags" ]; then
        mapfile -t CHAIN_WORDS <"$START/zero_shot_flags"
    fi
    say "the zero-shot chain, $START: what is finished with these settings and data is reused"
    BASE_MODEL=$BASE_MODEL PYTHON=$PYTHON as_child bash "$ROOT/shell/zero_shot.sh" "$GPU" "$TARGET" "$SOURCE" \
        ${CHAIN_WORDS[@]+"${CHAIN_WORDS[@]}"}
fi
few_shots "$@"

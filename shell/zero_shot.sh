#!/usr/bin/env bash
# TLRec, zero-shot: alpaca adapter -> chain-of-thought tuning -> instruction tuning on SOURCE -> AUC on TARGET.
#
#     bash ./shell/zero_shot.sh GPU TARGET SOURCE [--flags of ins_tuning.py and evaluate.py]
#     bash ./shell/zero_shot.sh 0 movie netflix
#
# GPU     CUDA device number, gpu for the first one, or cpu
# TARGET  movie | book
# SOURCE  netflix | amazon-book | movielens (same catalogue as movie: no transfer claim)
# COT     environment variable; COT=skip leaves the chain-of-thought stage out
# --select_on target|source|none   whose validation rows choose the checkpoint (target is published, and means that
#                                  1,000 target labels are seen)
# --sample N    source rows; of the chain-of-thought data as many, or all where it has fewer
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
usage 3 "$@"
GPU=$1 TARGET=$2 SOURCE=$3
shift 3
one_of TARGET "$TARGET" movie book
one_of SOURCE "$SOURCE" netflix amazon-book movielens

SELECT_ON=target SAMPLE=-1 USER_FLAGS=() WORDS=("$@")
while [ $# -gt 0 ]; do
    case $1 in
        --select_on=*) SELECT_ON=${1#*=} ;;
        --select_on) [ $# -gt 1 ] || die "--select_on needs a value"; SELECT_ON=$2; shift ;;
        --sample=*) SAMPLE=${1#*=} ;;
        --sample) [ $# -gt 1 ] || die "--sample needs a value"; SAMPLE=$2; shift ;;
        *) USER_FLAGS+=("$1") ;;
    esac
    shift
done
one_of --select_on "$SELECT_ON" target source none
[[ $SAMPLE =~ ^(-1|[1-9][0-9]*)$ ]] || die "--sample '$SAMPLE': give a number of rows, or -1 for all"

say "zero-shot: $SOURCE -> $TARGET"
use_gpu "$GPU"
set_up
split_flags ins_tuning,evaluate -- ${USER_FLAGS[@]+"${USER_FLAGS[@]}"}
pick_base_model
start_of_chain "$TARGET"
need_target_data "$TARGET"
case $SELECT_ON in
    target) need_source_data "$SOURCE"; VALID=$TLREC_HOME/rec_data/$TARGET/valid.json ;;
    source) need_source_data "$SOURCE" valid; VALID=$TLREC_HOME/instruction_data/$SOURCE/valid.json ;;
    none) need_source_data "$SOURCE"; VALID= ;;
esac
MODELS=$TLREC_HOME/instruction_model/$BASE/$TARGET

tune() { # tune TRAIN_DATA [DEFAULT FLAGS]: one stage, from START; the adapter's name is CHAIN
    local data=$1 selection=(--select_by none)
    shift
    [ -z "$VALID" ] || selection=(--val_data_path "$VALID")
    split_flags ins_tuning,evaluate "${selection[@]}" "$@" -- ${USER_FLAGS[@]+"${USER_FLAGS[@]}"}
    run ins_tuning.py --base_model "$BASE_MODEL" --train_data_path "$data" --output_dir "$MODELS/$CHAIN" \
        ${START:+--resume_from_checkpoint "$START"} ${FLAGS[@]+"${FLAGS[@]}"}
    START=$MODELS/$CHAIN
}

score() { # score: AUC on TARGET after the stage that START stands for
    say "AUC of $CHAIN on $TARGET"
    flags_for evaluate
    run evaluate.py --base_model "$BASE_MODEL" --lora_weights "$START" --skip_recorded True \
        --test_data_path "$TLREC_HOME/rec_data/$TARGET/test.json" ${FLAGS[@]+"${FLAGS[@]}"}
}

[ -z "$START" ] || score
pick_cot "$SOURCE"
if [ -n "$COT_DATA" ]; then
    CHAIN=$(joined ${CHAIN:+"$CHAIN"} "$(cot_name)")
    say "stage: chain-of-thought tuning -> $MODELS/$CHAIN"
    ROWS=$("$PYTHON" -c 'import json, sys; print(len(json.load(open(sys.argv[1], encoding="utf-8-sig"))))' "$COT_DATA")
    # its samples pass the published 512 tokens, so fewer of them go through the model at a time
    tune "$COT_DATA" --cutoff_len 2048 --micro_batch_size 2 --sample $((SAMPLE > ROWS ? -1 : SAMPLE))
    score
fi
CHAIN=$(joined ${CHAIN:+"$CHAIN"} "$SOURCE")
say "stage: instruction tuning on $SOURCE -> $MODELS/$CHAIN"
KEPT=$MODELS/$CHAIN/zero_shot_flags # few_shot.sh takes them
mkdir -p "$MODELS/$CHAIN"
[ ! -f "$KEPT" ] || cp "$KEPT" "$KEPT.before"
trap 'code=$?; [ $code -ne 2 ] || as_before; exit $code' EXIT
as_before() { # a refused command leaves the flags that the chain was made with; a run that failed later is not refused
    if [ -n "$(find "$MODELS/$CHAIN" -path '*/checkpoint-*/complete.json' -newer "$KEPT" -print -quit)" ]; then
        rm -f "$KEPT.before"
        return
    fi
    if [ -f "$KEPT.before" ]; then mv "$KEPT.before" "$KEPT"; else rm -f "$KEPT"; fi
    rmdir --ignore-fail-on-non-empty "$MODELS/$CHAIN"
}
{ [ ${#WORDS[@]} -eq 0 ] || printf '%s\n' "${WORDS[@]}"; } >"$KEPT"
tune "$TLREC_HOME/instruction_data/$SOURCE/train.json" --sample "$SAMPLE"
trap - EXIT
rm -f "$KEPT.before"
score

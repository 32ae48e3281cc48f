#!/usr/bin/env bash
# Evaluate every seed and shot count found under a name, and gather the figures into one results file.
#
#     bash ./shell/evaluate.sh GPU MODEL_TYPE [--flags of evaluate.py]
#     bash ./shell/evaluate.sh 0 smollm2-135m/movie/netflix
#
# GPU         CUDA device number, gpu for the first one, or cpu
# MODEL_TYPE  a folder or prefix under output_model/
#
# TARGET  movie | book: test on this domain (default: the one that each adapter was tuned on). With the other domain,
#         the record shows train domain x test domain.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
usage 2 "$@"
GPU=$1 MODEL_TYPE=${2%/}
shift 2
[ -z "${TARGET:-}" ] || one_of TARGET "$TARGET" movie book

say "evaluate: $MODEL_TYPE"
use_gpu "$GPU"
set_up
split_flags evaluate -- "$@"
OUTPUTS=$TLREC_HOME/output_model
mapfile -d '' -t ADAPTERS < <(find "$OUTPUTS" -name tlrec.json -path "$OUTPUTS/$MODEL_TYPE*" -print0 2>/dev/null | sort -z)
[ ${#ADAPTERS[@]} -gt 0 ] || die "$OUTPUTS/$MODEL_TYPE*: no tuned adapter there; tune one with shell/few_shot.sh"
EXPERIMENT="evaluate $MODEL_TYPE on ${TARGET:-its own domain}"
NUMBER=0
for adapter in "${ADAPTERS[@]}"; do
    adapter=$(dirname "$adapter")
    IFS=/ read -r BASE TUNED_ON _ <<<"${adapter#"$OUTPUTS"/}"
    NUMBER=$((NUMBER + 1))
    say "$NUMBER of ${#ADAPTERS[@]}: ${adapter#"$OUTPUTS"/} on ${TARGET:-$TUNED_ON}"
    need_target_data "${TARGET:-$TUNED_ON}"
    run evaluate.py --base_model "${BASE_MODEL:-$BASE}" --lora_weights "$adapter" --skip_recorded True \
        --test_data_path "$TLREC_HOME/rec_data/${TARGET:-$TUNED_ON}/test.json" --experiment "$EXPERIMENT" \
        ${FLAGS[@]+"${FLAGS[@]}"}
done
say "results"
run report.py --experiment "$EXPERIMENT" --output "$TLREC_HOME/results/evaluate_${MODEL_TYPE//\//_}${TARGET:+_on_$TARGET}.json"

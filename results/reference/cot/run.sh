#!/usr/bin/env bash
# The commands behind results/reference/cot/runs.jsonl: AUC on all of movie/test with and without the CoT stage, everything
# else equal: the same 256 Netflix rows and seed. About 12 minutes on two CPU cores. What is recorded is skipped.
#
#     bash results/reference/cot/run.sh
#
# The CoT stage: 32 of the 178 hits among 300 Netflix samples that the rules teacher answered (no language model).
# Reduced like movie/run.sh: one epoch, loss on the answer only, no checkpoint selection.
source "$(dirname "${BASH_SOURCE[0]}")/../../../shell/common.sh"
set_up
BASE_MODEL=$EMBEDDED
pick_base_model
need_target_data movie
need_source_data netflix
MODELS=$TLREC_HOME/instruction_model/$BASE/movie
COT_DATA=$TLREC_HOME/cot_data/rules_netflix/stage123_rules.json
[ -f "$COT_DATA" ] || make_cot_by_rules netflix 300 "$COT_DATA"
SHORT=(--base_model "$BASE_MODEL" --train_on_inputs False --select_by none --num_epochs 1 --batch_size 8
    --learning_rate 1e-3 --warmup_steps 10)
tuned() { run ins_tuning.py "${SHORT[@]}" "$@"; }
scored() {
    run evaluate.py --base_model "$BASE_MODEL" --experiment cot --skip_recorded True \
        --test_data_path "$TLREC_HOME/rec_data/movie/test.json" --lora_weights "$1"
}

for seed in ${SEEDS:-0}; do
    NETFLIX=(--train_data_path "$TLREC_HOME/instruction_data/netflix/train.json" --sample 256 --seed "$seed")
    tuned --train_data_path "$COT_DATA" --output_dir "$MODELS/cot_32_seed$seed" --sample 32 --seed "$seed" \
        --micro_batch_size 4 --cutoff_len 2048
    scored "$MODELS/cot_32_seed$seed"
    tuned "${NETFLIX[@]}" --output_dir "$MODELS/cot_32_netflix_256_seed$seed" \
        --resume_from_checkpoint "$MODELS/cot_32_seed$seed"
    scored "$MODELS/cot_32_netflix_256_seed$seed"
    tuned "${NETFLIX[@]}" --output_dir "$MODELS/netflix_256_seed$seed"
    scored "$MODELS/netflix_256_seed$seed"
done
run report.py table --experiment cot

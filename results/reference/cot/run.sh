#!/usr/bin/env bash
# The commands behind results/reference/cot/runs.jsonl: AUC on all of movie/test with and without the CoT stage, everything
# else equal: the same 256 Netflix rows and seed. About 12 minutes on two CPU cores. What is recorded is skipped.
#
#     bash results/reference/cot/run.sh
#
# The CoT stage: 32 of the 178 hits among 300 Netflix samples that the rules teacher answered (no language model).
# Reduced like movie/run.sh: one epoch, loss on the answer only, no checkpoint selection.
source "$(dirname "${BASH_SOURCE[0]}")/../../../shell/setup.sh"
BASE=smollm2-135m
run -m base_model.prepare $BASE
run -m rec_data.movielens --folder rec_data/movie
run -m rec_data.published instruction_data/netflix/train.json
MODELS=$TLREC_HOME/instruction_model/$BASE/movie
RULES=$TLREC_HOME/cot_data/rules_netflix
COT_DATA=$RULES/stage123_rules.json
if [ ! -f "$COT_DATA" ]; then
    run -m cot_data.generate_data --teacher rules --source netflix --max_samples 300 --output_dir "$RULES"
    run -m cot_data.preprocess_data --input_path "$RULES/three_stages.json" --output_path "$COT_DATA"
fi
SHORT=(--base_model $BASE --train_on_inputs False --select_by none --num_epochs 1 --batch_size 8
    --learning_rate 1e-3 --warmup_steps 10)
tuned() { run ins_tuning.py "${SHORT[@]}" "$@"; }
scored() {
    run evaluate.py --base_model $BASE --experiment cot --skip_recorded True \
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

#!/usr/bin/env bash
# The commands behind results/reference/movie/runs.jsonl: about 45 minutes on two CPU cores. What is recorded is skipped.
#
#     bash results/reference/movie/run.sh
#
# On all of movie/test: the controls; SmolLM2-135M untuned; zero-shot after 512 random Netflix rows, three seeds; and
# 16, 64, 256 shots from the zero-shot adapter of seed 0. Reduced against the published runs: source rows (512 of
# 8,000), epochs, one few-shot seed, loss on the answer only, no checkpoint selection.
source "$(dirname "${BASH_SOURCE[0]}")/../../../shell/setup.sh"
BASE=smollm2-135m
run -m base_model.prepare $BASE
run -m rec_data.movielens --folder rec_data/movie
run -m rec_data.published instruction_data/netflix/train.json
MOVIE=$TLREC_HOME/rec_data/movie
SHORT=(--base_model $BASE --train_on_inputs False --select_by none)
scored() { run evaluate.py --experiment reference --skip_recorded True "$@"; }

bash "$ROOT/results/reference/movie/controls.sh"
scored --method liked-ratio --test_data_path "$MOVIE/valid.json"
scored --base_model $BASE --test_data_path "$MOVIE/test.json"
for seed in 0 1 2; do
    adapter=$TLREC_HOME/instruction_model/$BASE/movie/netflix_512_seed$seed
    run ins_tuning.py "${SHORT[@]}" --train_data_path "$TLREC_HOME/instruction_data/netflix/train.json" \
        --output_dir "$adapter" --sample 512 --seed "$seed" --num_epochs 1 --batch_size 8 --learning_rate 1e-3 \
        --warmup_steps 10
    scored --base_model $BASE --lora_weights "$adapter" --test_data_path "$MOVIE/test.json"
done
for shots_epochs in "16 30" "64 10" "256 3"; do
    read -r shots epochs <<<"$shots_epochs"
    adapter=$TLREC_HOME/output_model/$BASE/movie/netflix_512_seed0/0_$shots
    run rec_tuning.py "${SHORT[@]}" --train_data_path "$MOVIE/train.json" --output_dir "$adapter" --sample "$shots" \
        --seed 0 --num_epochs "$epochs" --batch_size 16 --learning_rate 3e-4 --warmup_steps 2 \
        --resume_from_checkpoint "$TLREC_HOME/instruction_model/$BASE/movie/netflix_512_seed0"
    scored --base_model $BASE --lora_weights "$adapter" --test_data_path "$MOVIE/test.json"
done
run report.py table --experiment reference

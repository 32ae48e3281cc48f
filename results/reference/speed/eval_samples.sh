#!/usr/bin/env bash
# The commands behind results/reference/speed/eval_samples.json: SmolLM2-135M tuned on 512 Netflix rows, its four
# checkpoints scored on 400 of the 1,000 rows of movie/valid. About 15 minutes on two CPU cores. What is done is kept.
#
#     bash results/reference/speed/eval_samples.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../../shell/setup.sh"
BASE=smollm2-135m
run -m base_model.prepare $BASE
run -m rec_data.movielens --folder rec_data/movie
run -m rec_data.published instruction_data/netflix/train.json
TUNED=$TLREC_HOME/instruction_model/$BASE/movie/netflix_512_checkpoints
run ins_tuning.py --base_model $BASE --train_data_path "$TLREC_HOME/instruction_data/netflix/train.json" \
    --output_dir "$TUNED" --sample 512 --seed 0 --num_epochs 1 --batch_size 8 --learning_rate 1e-3 --warmup_steps 10 \
    --train_on_inputs False --select_by none --eval_steps 16 --keep_checkpoints 99
cd "$TLREC_HOME"
run -m benchmarks.eval_samples --tuned "instruction_model/$BASE/movie/netflix_512_checkpoints" --rows 400

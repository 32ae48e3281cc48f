#!/usr/bin/env bash
# The commands behind results/reference/runs.jsonl. Takes about half an hour on 2 cores.
#
#     bash results/reference/commands.sh
#
# Untuned and zero-shot (source: 512 random Netflix rows) SmolLM2-135M on all of movie/test, three seeds, and the control.
source "$(dirname "${BASH_SOURCE[0]}")/../../shell/common.sh"
set_up
pick_base_model
need_target_data movie
need_source_data netflix
MOVIE=$TLREC_HOME/rec_data/movie

run evaluate.py --method liked-ratio --test_data_path "$MOVIE/test.json" --experiment reference
run evaluate.py --method liked-ratio --test_data_path "$MOVIE/valid.json" --experiment reference
run evaluate.py --base_model smollm2-135m --test_data_path "$MOVIE/test.json" --experiment reference
for seed in 0 1 2; do
    adapter=$TLREC_HOME/instruction_model/smollm2-135m/movie/netflix_512_seed$seed
    run ins_tuning.py --base_model smollm2-135m --train_data_path "$TLREC_HOME/instruction_data/netflix/train.json" \
        --output_dir "$adapter" --sample 512 --seed "$seed" --num_epochs 1 --batch_size 8 --learning_rate 1e-3 \
        --warmup_steps 10 --train_on_inputs False --select_by none
    run evaluate.py --base_model smollm2-135m --lora_weights "$adapter" --test_data_path "$MOVIE/test.json" \
        --experiment reference
done

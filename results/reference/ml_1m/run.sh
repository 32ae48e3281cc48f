#!/usr/bin/env bash
# The commands behind results/reference/ml_1m/runs.jsonl: MovieLens-1M in CoLLM's split, all 7,331 test rows of 320 users.
#
#     bash results/reference/ml_1m/run.sh                controls, then llm
#     bash results/reference/ml_1m/run.sh controls       half a minute
#     bash results/reference/ml_1m/run.sh llm            SmolLM2-135M untuned, and tuned on 2,048 rows with three seeds
#     bash results/reference/ml_1m/run.sh combination    after llm: does it add anything to item-mean and liked-ratio?
#     bash results/reference/ml_1m/run.sh baselines      SASRec, Caser, GRU, DROS: all 33,891 rows, three seeds
#
# SEEDS       of llm and combination (default: "0 1 2"); one is tuned and tested before the next
# VALID_ROWS  of valid's 10,401, drawn once, that combination is fitted on (default: 2048; -1 is all)
# What is recorded is skipped, so that a stopped run goes on.
source "$(dirname "${BASH_SOURCE[0]}")/../../../shell/setup.sh"
ML_1M=$TLREC_HOME/rec_data/ml-1m
run -m rec_data.ml_1m
BASE=smollm2-135m
scored_on() { run evaluate.py --experiment reference --skip_recorded True --test_data_path "$ML_1M/$1.json" "${@:2}"; }
scored() { scored_on test "$@"; }
adapter() { echo "$TLREC_HOME/output_model/$BASE/ml-1m/alone/$1_2048"; } # adapter SEED

controls() {
    local fitted=(-m baselines.controls --train_data_path "$ML_1M/train.json" --test_data_path "$ML_1M/test.json"
        --experiment reference --skip_recorded True --methods
        popularity,item-mean,user-mean,liked-ratio+item-mean,user-mean+item-mean,logistic,logistic+user-mean)
    scored --method liked-ratio
    run "${fitted[@]}"
    run "${fitted[@]}" --valid_data_path "$ML_1M/valid.json"
}
llm() {
    run -m base_model.prepare $BASE
    scored --base_model $BASE
    for seed in ${SEEDS:-0 1 2}; do
        run rec_tuning.py --base_model $BASE --train_data_path "$ML_1M/train.json" --output_dir "$(adapter "$seed")" \
            --sample 2048 --seed "$seed" --num_epochs 1 --batch_size 32 --learning_rate 1e-3 --train_on_inputs False \
            --select_by none
        scored --base_model $BASE --lora_weights "$(adapter "$seed")"
    done
}
combination() {
    local seed rows=${VALID_ROWS:-2048}
    scored_on valid --base_model $BASE --test_rows "$rows"
    for seed in ${SEEDS:-0 1 2}; do
        scored_on valid --base_model $BASE --lora_weights "$(adapter "$seed")" --test_rows "$rows"
    done
    run -m baselines.llm_plus_controls --data rec_data/ml-1m --valid_rows "$rows" --experiment reference --skip_recorded True
}
baselines() {
    local epoch=132 # steps: validated once an epoch, where the default of every 5 steps would take hours
    run -m baselines.grid --target ml-1m --system SASRec,Caser,GRU,DROS --shots all --seed 0,1,2 --eval_steps $epoch \
        --experiment reference --skip_recorded True
}
for part in ${*:-controls llm}; do "$part"; done

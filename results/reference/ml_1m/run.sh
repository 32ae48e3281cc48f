#!/usr/bin/env bash
# The commands behind results/reference/ml_1m/runs.jsonl: MovieLens-1M in CoLLM's split, all 7,331 test rows of 320 users.
#
#     bash results/reference/ml_1m/run.sh                controls, then llm
#     bash results/reference/ml_1m/run.sh controls       half a minute
#     bash results/reference/ml_1m/run.sh llm            SmolLM2-135M untuned, and tuned on 2,048 rows with three seeds
#     bash results/reference/ml_1m/run.sh baselines      GRU, Caser, SASRec, DROS: all 33,891 rows, three seeds (hours)
# What is recorded is skipped, so that a stopped run goes on.
source "$(dirname "${BASH_SOURCE[0]}")/../../../shell/setup.sh"
ML_1M=$TLREC_HOME/rec_data/ml-1m
run -m rec_data.ml_1m
scored() { run evaluate.py --experiment reference --skip_recorded True --test_data_path "$ML_1M/test.json" "$@"; }

controls() {
    scored --method liked-ratio
    run -m baselines.controls --train_data_path "$ML_1M/train.json" --test_data_path "$ML_1M/test.json" \
        --methods popularity,item-mean,user-mean,liked-ratio+item-mean,user-mean+item-mean,logistic \
        --experiment reference --skip_recorded True
}
llm() {
    local base=smollm2-135m seed adapter
    run -m base_model.prepare $base
    scored --base_model $base
    for seed in 0 1 2; do
        adapter=$TLREC_HOME/output_model/$base/ml-1m/alone/${seed}_2048
        run rec_tuning.py --base_model $base --train_data_path "$ML_1M/train.json" --output_dir "$adapter" --sample 2048 \
            --seed "$seed" --num_epochs 1 --batch_size 32 --learning_rate 1e-3 --train_on_inputs False --select_by none
        scored --base_model $base --lora_weights "$adapter"
    done
}
baselines() {
    run -m baselines.grid --target ml-1m --system GRU,Caser,SASRec,DROS --shots all --seed 0,1,2 \
        --experiment reference --skip_recorded True
}
for part in ${*:-controls llm}; do "$part"; done

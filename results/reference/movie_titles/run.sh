#!/usr/bin/env bash
# The commands behind results/reference/movie_titles/runs.jsonl: does SmolLM2-135M, tuned on rows of movie, read titles?
# All 8,000 rows take more than an hour an epoch on two CPU cores.
#
#     bash results/reference/movie_titles/run.sh                 all, then combination
#     bash results/reference/movie_titles/run.sh all             ROWS rows, tested on valid and test
#     bash results/reference/movie_titles/run.sh hidden          after all: its test with numbers for titles
#     bash results/reference/movie_titles/run.sh controls        liked-ratio and item-mean, to compare it with
#     bash results/reference/movie_titles/run.sh neutral         2,048 rows with titles, and with numbers for titles
#     bash results/reference/movie_titles/run.sh combination     does it add anything to item-mean and liked-ratio?
#
# ROWS    of movie's 8,000, drawn with the seed (default: 8000)
# EPOCHS  passes over the rows in one schedule (default: 3)
# SEEDS   default: "0 1 2"; one is tuned and tested before the next
# Without dropout: drawing it for seven layers a block is a large part of a step on a CPU.
# A stopped run goes on from its last checkpoint, at most 50 steps back; what is recorded is skipped.
source "$(dirname "${BASH_SOURCE[0]}")/../../../shell/setup.sh"
BASE=smollm2-135m
run -m base_model.prepare $BASE
run -m rec_data.movielens --folder rec_data/movie

adapter() { echo "$TLREC_HOME/output_model/$BASE/$1/alone_e${EPOCHS:-3}/$3_$2"; } # adapter DATASET ROWS SEED
scored() { # scored ADAPTER FILE
    run evaluate.py --base_model $BASE --lora_weights "$1" --test_data_path "$TLREC_HOME/rec_data/$2.json" \
        --experiment reference --skip_recorded True
}
tuned() { # tuned DATASET ROWS SEED: tune on rows of rec_data/DATASET, then score its valid and test
    local data=$TLREC_HOME/rec_data/$1 adapter
    adapter=$(adapter "$@")
    run rec_tuning.py --base_model $BASE --train_data_path "$data/train.json" --output_dir "$adapter" --sample "$2" \
        --seed "$3" --num_epochs "${EPOCHS:-3}" --batch_size 32 --learning_rate 1e-3 --lora_r 16 --lora_alpha 32 \
        --lora_dropout 0 --lora_target_modules q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj \
        --train_on_inputs False --select_by none --eval_steps 50
    scored "$adapter" "$1/valid"
    scored "$adapter" "$1/test"
}
all() { for seed in ${SEEDS:-0 1 2}; do tuned movie "${ROWS:-8000}" "$seed"; done; }
hidden() {
    run -m rec_data.neutral_titles --data rec_data/movie
    for seed in ${SEEDS:-0 1 2}; do scored "$(adapter movie "${ROWS:-8000}" "$seed")" movie-neutral/test; done
}
controls() {
    run -m baselines.controls --train_data_path "$TLREC_HOME/rec_data/movie/train.json" \
        --test_data_path "$TLREC_HOME/rec_data/movie/test.json" --methods item-mean --experiment controls
    run evaluate.py --method liked-ratio --test_data_path "$TLREC_HOME/rec_data/movie/test.json" --experiment controls
}
neutral() {
    run -m rec_data.neutral_titles --data rec_data/movie
    for seed in ${SEEDS:-0 1 2}; do
        tuned movie 2048 "$seed"
        tuned movie-neutral 2048 "$seed"
    done
}
combination() {
    for data in movie movie-neutral; do
        [ ! -e "$TLREC_HOME/output_model/$BASE/$data" ] || run -m baselines.llm_plus_controls --data "rec_data/$data" \
            --experiment reference --skip_recorded True
    done
}
for part in ${*:-all combination}; do "$part"; done
run report.py table --experiment reference

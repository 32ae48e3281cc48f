#!/usr/bin/env bash
# The commands behind results/reference/cross_domain/runs.jsonl: SmolLM2-135M tuned on 64 rows of movie, of book, and of
# both (128 rows), each tested on all rows of movie/test and book/test. About 75 minutes on two CPU cores a seed. What is
# recorded is skipped.
#
#     TLREC_MIRROR=/copy/of/the/authors/repository SEEDS="0" bash results/reference/cross_domain/run.sh
#
# Reduced against the published grid: an instruction-tuned model of 135M parameters for LLaMA-7B with the alpaca adapter,
# 10 epochs for 200, loss on the answer only, no checkpoint selection. Where book/train.json is not at hand, book's rows are
# drawn from its validation split, which nothing else here uses.
source "$(dirname "${BASH_SOURCE[0]}")/../../../shell/setup.sh"
BASE=smollm2-135m
run -m base_model.prepare $BASE
run -m rec_data.movielens --folder rec_data/movie
run -m rec_data.published rec_data/book/valid.json rec_data/book/test.json
DATA=$TLREC_HOME/rec_data
BOOK=$DATA/book/train.json
if [ ! -f "$BOOK" ] && ! run -m rec_data.published rec_data/book/train.json; then
    BOOK=$DATA/from_valid/book/train.json # its folder names the stage
    mkdir -p "$(dirname "$BOOK")"
    cp "$DATA/book/valid.json" "$BOOK"
    say "NOTICE: book/train.json is not at hand; its rows are drawn from book/valid.json"
fi
for seed in ${SEEDS:-0}; do
    for tuned_on in movie book movie+book; do
        case $tuned_on in
            movie) train=$DATA/movie/train.json ;;
            book) train=$BOOK ;;
            *) train=$DATA/movie/train.json,$BOOK ;;
        esac
        adapter=$TLREC_HOME/output_model/$BASE/$tuned_on/untuned/${seed}_64
        run rec_tuning.py --base_model $BASE --train_data_path "$train" --output_dir "$adapter" --sample 64 \
            --seed "$seed" --num_epochs 10 --batch_size 16 --learning_rate 3e-4 --warmup_steps 2 \
            --train_on_inputs False --select_by none
        for domain in movie book; do
            run evaluate.py --base_model $BASE --lora_weights "$adapter" --test_data_path "$DATA/$domain/test.json" \
                --experiment cross_domain --skip_recorded True
        done
    done
done
run report.py crossdomain --experiment cross_domain

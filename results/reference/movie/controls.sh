#!/usr/bin/env bash
# The controls of results/reference: movie, from 16, 64 and 256 rows with ten seeds each, and from all rows. About a
# minute on one core. What is recorded is left out.
#
#     bash results/reference/movie/controls.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../../shell/setup.sh"
run -m rec_data.movielens --folder rec_data/movie
MOVIE=$TLREC_HOME/rec_data/movie
CONTROLS=(-m baselines.controls --train_data_path "$MOVIE/train.json" --test_data_path "$MOVIE/test.json"
    --experiment reference --skip_recorded True)

run evaluate.py --method liked-ratio --test_data_path "$MOVIE/test.json" --experiment reference --skip_recorded True
run "${CONTROLS[@]}"
for shots in 16 64 256; do
    for seed in 0 1 2 3 4 5 6 7 8 9; do run "${CONTROLS[@]}" --sample "$shots" --seed "$seed"; done
done

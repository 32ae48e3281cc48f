#!/usr/bin/env bash
# The commands behind results/reference/baselines/runs.jsonl: the six baselines on movie. Two processes, one for each core.
#
#     bash results/reference/baselines/run.sh
#
# The four id models at 16, 64, 256 shots and all 8,000 rows, ten seeds; the BERT variants at 16, 64, 256 shots with ten
# seeds and at all rows with one; then the id models once more with the ratings of the history, five seeds, apart.
# results/reference/baselines/weight_decay.json comes from the same commands: without that file each system searches first.
source "$(dirname "${BASH_SOURCE[0]}")/../../../shell/setup.sh"
export CUDA_VISIBLE_DEVICES=
run -m rec_data.movielens --folder rec_data/movie
SEEDS=0,1,2,3,4,5,6,7,8,9

train() { run -m baselines.grid --target movie --skip_recorded True "$@"; }
half() { # half ID_MODELS BERT_VARIANT
    train --system "$1" --shots 16,64,256,all --seed $SEEDS --experiment baselines
    train --system "$2" --shots 16,64,256 --seed $SEEDS --experiment baselines
    train --system "$2" --shots all --seed 0 --experiment baselines
    say "$1 $2: the grid took $SECONDS s"
    train --system "$1" --shots 16,64,256,all --seed 0,1,2,3,4 --use_ratings True --experiment baselines-ratings
    say "$1: with the ratings, $SECONDS s"
}
half GRU,SASRec GRU-BERT &
half Caser,DROS DROS-BERT
wait $!

#!/usr/bin/env bash
# The commands behind results/reference/baselines/runs.jsonl. Two processes, one for each core.
#
#     bash results/reference/baselines/run.sh             movie, book, then movie without the ratings
#     bash results/reference/baselines/run.sh movie       one of: movie, book, ids, book_all (hours)
#
# movie     six systems at 16, 64, 256 rows with ten seeds; at all 8,000 rows with five, the BERT variants with three
# book      GRU, Caser, SASRec and DROS at 16, 64, 256 rows with ten seeds
# ids       what the ratings add: GRU, Caser and SASRec without them, all 8,000 rows of movie, five seeds
# book_all  GRU, Caser and SASRec at all 19,414 rows of book, one seed
# Recorded cells are skipped, so that a stopped run goes on.
source "$(dirname "${BASH_SOURCE[0]}")/../../../shell/setup.sh"
export CUDA_VISIBLE_DEVICES=
FIVE=0,1,2,3,4
TEN=$FIVE,5,6,7,8,9

train() { run -m baselines.grid --skip_recorded True --experiment baselines "$@"; }
few() { train --shots 16,64,256 --seed $TEN "$@"; }

movie() {
    run -m rec_data.movielens --folder rec_data/movie
    movie_half GRU,SASRec GRU-BERT &
    movie_half DROS,Caser DROS-BERT
    wait $!
}
movie_half() { # movie_half ID_MODELS BERT_VARIANT
    few --target movie --system "$1,$2"
    train --target movie --system "$1" --shots all --seed $FIVE
    train --target movie --system "$2" --shots all --seed 0,1,2
}
book() {
    run -m rec_data.published baseline/books
    few --target book --system GRU,Caser,SASRec &
    few --target book --system DROS
    wait $!
}
ids() {
    train --target movie --system GRU --shots all --seed $FIVE --input ids &
    train --target movie --system Caser,SASRec --shots all --seed $FIVE --input ids
    wait $!
}
book_all() {
    run -m rec_data.published baseline/books
    train --target book --system GRU,SASRec,Caser --shots all --seed 0
}
for part in ${*:-movie book ids}; do
    "$part"
    say "$part: $SECONDS s since the start"
done

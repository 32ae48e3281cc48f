#!/usr/bin/env bash
# The commands behind the tables of docs/speed.md, in its order.
#
#     bash results/reference/speed/run.sh                    those of a CPU: about 95 minutes on two idle cores
#     bash results/reference/speed/run.sh training gpu       these alone
#
# Every table is made again, so start it from a clean commit, with nothing else running. TRL is among the ways of tuning
# where it is installed: pip install trl. The minutes behind a name are of two cores in fp32; with bf16 it takes less.
source "$(dirname "${BASH_SOURCE[0]}")/../../../shell/setup.sh"
BASE=smollm2-135m
TUNED=instruction_model/$BASE/movie/netflix_512_checkpoints

tuned() { # 15 minutes where its checkpoints are not there yet
    run -m rec_data.published instruction_data/netflix/train.json
    run ins_tuning.py --base_model $BASE --train_data_path instruction_data/netflix/train.json --output_dir "$TUNED" \
        --sample 512 --seed 0 --num_epochs 1 --batch_size 8 --learning_rate 1e-3 --warmup_steps 10 \
        --train_on_inputs False --select_by none --eval_steps 16 --keep_checkpoints 99
}
scoring() { run -m benchmarks.scoring --name scoring; }                                              # 10
scoring_tuned() { tuned; run -m benchmarks.scoring --lora_weights "$TUNED" --name scoring_tuned; }   # 5
scoring_fp32() { # P(Yes) and AUC of all three, equal but for rounding                               # 3
    tuned
    run -m benchmarks.scoring --dtype float32 --lora_weights "$TUNED" --rounds 0 --name scoring_fp32
}
scoring_growth() {                                                                                   # 7
    run -m benchmarks.scoring --dtype float32 --growth 64,256,1000 --ways ours --rounds 0 --name scoring_growth
}
scoring_lengths() {                                                                                  # 2
    run -m benchmarks.scoring --lengths 128,256,512,1024 --rows 8 --ways ours --rounds 0 --name scoring_lengths
}
scoring_batches() {                                                                                  # 3
    run -m benchmarks.scoring --batch_sizes 4,16,32 --rows 32 --ways ours,plain --rounds 0 --name scoring_batches
}
candidates() {                                                                                       # 5
    run -m benchmarks.scoring --candidates 500 --dtype float32 --ways ours,plain --rounds 0 --name candidates
}
training() { run -m benchmarks.training --name training; }                                           # 8
training_losses() {                                                                                  # 8
    run -m benchmarks.training --dtype float32 --lora_dropout 0 --learning_rate 1e-3 --warmup_steps 1 --steps 4 \
        --auc_rows 100 --name training_losses
}
startup() { run -m benchmarks.startup; }                                                             # 2
eval_samples() { tuned; run -m benchmarks.eval_samples --tuned "$TUNED" --rows 400; }                # 8
micro_batch() { # the same tuning with two micro-batches; AUC in results/runs.jsonl                   # 20
    for size in 8 32; do
        local adapter=$TLREC_HOME/output_model/$BASE/movie/micro_batch_$size
        run rec_tuning.py --base_model $BASE --train_data_path "$TLREC_HOME/rec_data/movie/train.json" \
            --output_dir "$adapter" --sample 512 --seed 0 --num_epochs 1 --batch_size 32 --micro_batch_size $size \
            --learning_rate 1e-3 --warmup_steps 4 --train_on_inputs False --select_by none
        run evaluate.py --base_model $BASE --lora_weights "$adapter" --experiment micro-batch \
            --test_data_path "$TLREC_HOME/rec_data/movie/test.json" --skip_recorded True
    done
    run report.py table --experiment micro-batch
}
gpu() { run -m benchmarks.gpu; }                                                                     # 4, on an H200

TABLES=(scoring scoring_tuned scoring_fp32 scoring_growth scoring_lengths scoring_batches candidates training
    training_losses startup eval_samples micro_batch)
[ $# -gt 0 ] || set -- "${TABLES[@]}"
for table in "$@"; do
    [[ " ${TABLES[*]} gpu " = *" $table "* ]] || die "no table $table; choose from ${TABLES[*]} gpu"
done
cd "$TLREC_HOME"
run -m base_model.prepare $BASE
run -m rec_data.movielens --folder rec_data/movie
for table in "$@"; do $table; done

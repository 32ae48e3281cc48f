#!/usr/bin/env bash
# The whole chain at reduced size, on real data with a real small LLaMA: at most 15 minutes on two CPU cores.
#
#     bash shell/quickstart.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
usage 0 "$@"
SOURCE_ROWS=128 TEST_ROWS=250 SHOTS=64 STEPS=10 COT_SAMPLES=16

say "quickstart: a reduced run, not the published experiment"
note "source domain: $SOURCE_ROWS of 8,000 rows of movielens (same catalogue as the target: no transfer claim)"
note "chain of thought: $COT_SAMPLES samples of movielens answered by rules (no language model), the hits among them"
note "target domain: movie, a seeded sample of $TEST_ROWS of 1,000 test rows"
note "few-shot:      $SHOTS shots, $STEPS optimiser steps; no validation inside tuning; loss on the answer only"
set_up
use_gpu "${GPU:-0}"
BASE_MODEL=${BASE_MODEL:-$EMBEDDED}
pick_base_model
need_target_data movie
need_source_data movielens

TEST=(--test_data_path "$TLREC_HOME/rec_data/movie/test.json" --test_rows "$TEST_ROWS" --experiment quickstart
    --skip_recorded True)
SHORT=(--base_model "$BASE_MODEL" --select_by none --train_on_inputs False)
COT_DATA=$TLREC_HOME/cot_data/quickstart/stage123_rules.json
COT_MODEL=$TLREC_HOME/instruction_model/$BASE/movie/quickstart_stage123_rules
ZERO_SHOT=$TLREC_HOME/instruction_model/$BASE/movie/quickstart_stage123_rules_movielens
FEW_SHOT=$TLREC_HOME/output_model/$BASE/movie/quickstart_stage123_rules_movielens/0_$SHOTS

say "1 of 8: the training-free control, share of liked titles in the prompt"
run evaluate.py --method liked-ratio "${TEST[@]}"
say "2 of 8: $BASE, untuned"
run evaluate.py --base_model "$BASE_MODEL" "${TEST[@]}"
say "3 of 8: chain-of-thought tuning, data by rules"
make_cot_by_rules movielens "$COT_SAMPLES" "$COT_DATA"
run ins_tuning.py "${SHORT[@]}" --train_data_path "$COT_DATA" --output_dir "$COT_MODEL" --cutoff_len 2048 --seed 0 \
    --num_epochs 1 --batch_size 4 --micro_batch_size 2 --learning_rate 3e-4 --warmup_steps 2
say "4 of 8: AUC after it"
run evaluate.py --base_model "$BASE_MODEL" --lora_weights "$COT_MODEL" "${TEST[@]}"
say "5 of 8: instruction tuning on the source domain, $SOURCE_ROWS rows"
run ins_tuning.py "${SHORT[@]}" --train_data_path "$TLREC_HOME/instruction_data/movielens/train.json" \
    --output_dir "$ZERO_SHOT" --resume_from_checkpoint "$COT_MODEL" --cutoff_len 512 --sample "$SOURCE_ROWS" --seed 0 \
    --num_epochs 1 --batch_size 8 --learning_rate 1e-3 --warmup_steps 5
say "6 of 8: zero-shot AUC on the target domain"
run evaluate.py --base_model "$BASE_MODEL" --lora_weights "$ZERO_SHOT" "${TEST[@]}"
say "7 of 8: few-shot rec-tuning, $SHOTS shots, $STEPS steps"
run rec_tuning.py "${SHORT[@]}" --train_data_path "$TLREC_HOME/rec_data/movie/train.json" --output_dir "$FEW_SHOT" \
    --resume_from_checkpoint "$ZERO_SHOT" --cutoff_len 512 --sample "$SHOTS" --seed 0 --max_steps "$STEPS" \
    --batch_size 16 --learning_rate 3e-4 --warmup_steps 2
say "8 of 8: few-shot AUC on the target domain"
run evaluate.py --base_model "$BASE_MODEL" --lora_weights "$FEW_SHOT" "${TEST[@]}"

say "quickstart, reduced sizes: $SOURCE_ROWS source rows, $TEST_ROWS test rows, $STEPS few-shot steps"
run report.py --experiment quickstart

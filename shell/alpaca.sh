#!/usr/bin/env bash
# Make the alpaca-tuned start of the chain from alpaca-format data, with the published settings.
#
#     bash ./shell/alpaca.sh GPU TARGET [--flags of ins_tuning.py]
#     bash ./shell/alpaca.sh 0 movie --train_data_path my_alpaca.json
#
# GPU     CUDA device number, gpu for the first one, or cpu
# TARGET  movie | book: whose chain starts from it
#
# Data: instruction_data/alpaca/train.json (fetched where it is missing), or any alpaca JSON through --train_data_path.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
usage 2 "$@"
GPU=$1 TARGET=$2
shift 2
one_of TARGET "$TARGET" movie book

say "alpaca tuning for $TARGET"
use_gpu "$GPU"
set_up
split_flags ins_tuning --train_data_path "$TLREC_HOME/instruction_data/alpaca/train.json" --val_set_size 2000 \
    --select_by loss --eval_steps 200 --micro_batch_size 4 --warmup_steps 100 --cutoff_len 256 -- "$@"
pick_base_model
if [[ " $* " != *" --train_data_path"* ]] && [ ! -f "$TLREC_HOME/instruction_data/alpaca/train.json" ]; then
    HF_HUB_OFFLINE=0 run -m instruction_data.alpaca
fi
run ins_tuning.py --base_model "$BASE_MODEL" --output_dir "$TLREC_HOME/instruction_model/$BASE/$TARGET/alpaca" \
    ${FLAGS[@]+"${FLAGS[@]}"}

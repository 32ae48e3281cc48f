#!/usr/bin/env bash
# Make the alpaca-tuned start of the chain from alpaca-format data, with the published settings.
#
#     bash ./shell/alpaca.sh GPU TARGET [--flags of ins_tuning.py]
#     bash ./shell/alpaca.sh 0 movie --train_data_path my_alpaca.json
#
# GPU     CUDA device number, gpu for the first one, or cpu
# TARGET  movie, book, ml-1m, or another dataset that is prepared: whose chain starts from it
# Data: instruction_data/alpaca/train.json (fetched where it is missing), or any alpaca JSON through --train_data_path.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments alpaca "$@"

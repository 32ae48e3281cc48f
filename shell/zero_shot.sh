#!/usr/bin/env bash
# TLRec, zero-shot: alpaca adapter -> chain-of-thought tuning -> instruction tuning on SOURCE -> AUC on TARGET.
#
#     bash ./shell/zero_shot.sh GPU TARGET SOURCE [--flags of ins_tuning.py and evaluate.py]
#     bash ./shell/zero_shot.sh 0 movie netflix
#
# GPU     CUDA device number, gpu for the first one, or cpu
# TARGET  movie, book, ml-1m, or another dataset that is prepared (docs/your-own-data.md)
# SOURCE  netflix, amazon-book, movielens (same catalogue as movie: no transfer claim), or another that is prepared
# --select_on target|source|none   whose validation rows choose the checkpoint (target is published, and means that
#                                  1,000 target labels are seen)
# --sample N    source rows; of the chain-of-thought data as many, or all where it has fewer
# ALPACA        skip: start without the alpaca adapter
# COT           skip: no chain-of-thought stage; curriculum: three, one question each (docs/chain-of-thought.md)
# COT_SAMPLES   liked samples that the rules teacher is asked about where it must stand in (default: 300)
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments zero_shot "$@"

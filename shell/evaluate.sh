#!/usr/bin/env bash
# Evaluate every seed and shot count found under a name, and gather the figures into one results file.
#
#     bash ./shell/evaluate.sh GPU MODEL_TYPE [--flags of evaluate.py]
#     bash ./shell/evaluate.sh 0 smollm2-135m/movie/netflix
#
# GPU         CUDA device number, gpu for the first one, or cpu
# MODEL_TYPE  a folder or prefix under output_model/
#
# TARGET  movie, book, ml-1m, or another dataset that is prepared: test on this domain (default: the one that each
#         adapter was tuned on). With another domain, the record shows train domain x test domain.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments evaluate "$@"

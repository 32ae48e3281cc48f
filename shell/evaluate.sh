#!/usr/bin/env bash
# Evaluate every seed and shot count found under a name, and gather the figures into one results file.
#
#     bash ./shell/evaluate.sh GPU MODEL_TYPE [--flags of evaluate.py]
#     bash ./shell/evaluate.sh 0 smollm2-135m/movie/netflix
#
# GPU         CUDA device number, gpu for the first one, or cpu
# MODEL_TYPE  a folder or prefix under output_model/
# TARGET  movie, book, ml-1m, or another prepared dataset to test on (default: what each adapter was tuned on)
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments evaluate "$@"

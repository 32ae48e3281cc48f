#!/usr/bin/env bash
# Try the recommender in a browser, at http://127.0.0.1:7860; a second tab shows the record. Installs gradio, once.
#
#     bash ./shell/demo.sh [--flags of demo.py]
#
# GPU  CUDA device number, gpu for the first one, or cpu (default: 0)
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments demo "$@"

#!/usr/bin/env bash
# The whole chain at reduced size, on real data with a real small LLaMA: at most 15 minutes on two CPU cores.
#
#     bash shell/quickstart.sh
#
# GPU  CUDA device number, gpu for the first one, or cpu (default: 0)
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments quickstart "$@"

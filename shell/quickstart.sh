#!/usr/bin/env bash
# The whole chain at reduced size, on real data with a real small LLaMA: at most 15 minutes on two CPU cores.
#
#     bash shell/quickstart.sh
#
# GPU  CUDA device number, gpu for the first one, or cpu (default: gpu)
# --source_rows 128|192|320|512|8000   the size; else the last run's, else what fits by a measured step
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments quickstart "$@"

#!/usr/bin/env bash
# Chain-of-thought data: three questions about each liked sample of a source domain -> cot_data/stage123.json.
#
#     OPENAI_API_KEY=... bash ./shell/generate_cot_data.sh [--flags of cot_data.generate_data and preprocess_data]
#     bash ./shell/generate_cot_data.sh --dry_run True --price_in 30 --price_out 60
#     bash ./shell/generate_cot_data.sh --teacher rules
#
# --teacher api    any OpenAI-compatible server: key from OPENAI_API_KEY, address from OPENAI_BASE_URL
# --teacher local  a server on this machine, no key: OPENAI_BASE_URL, else one is started with BASE_MODEL (default: the
#                  embedded smollm2-135m), by `transformers serve`, and stopped at the end
# --teacher rules  no language model: answers from which titles occur together
# SOURCE                           netflix, amazon-book, movielens, or another dataset that is prepared (default: netflix)
# OPENAI_API_KEY, OPENAI_BASE_URL  of the teacher's server
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec "$PYTHON" -m tlrec.experiments generate_cot_data "$@"

#!/usr/bin/env bash
# Chain-of-thought data: three questions about each liked sample of a source domain -> cot_data/stage123.json.
#
#     OPENAI_API_KEY=... bash ./shell/generate_cot_data.sh [--flags of cot_data.generate_data and preprocess_data]
#     bash ./shell/generate_cot_data.sh --dry_run True --price_in 30 --price_out 60
#     bash ./shell/generate_cot_data.sh --teacher rules
#
# --teacher api    any OpenAI-compatible server: key from OPENAI_API_KEY, address from OPENAI_BASE_URL
# --teacher local  a server on this machine: OPENAI_BASE_URL, no key
# --teacher rules  no language model: answers from which titles occur together
#
# SOURCE  netflix | amazon-book | movielens (default: netflix)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
usage 0 "$@"
SOURCE=${SOURCE:-netflix}
one_of SOURCE "$SOURCE" netflix amazon-book movielens
[[ -n "${OPENAI_API_KEY:-}" || " $* " == *" --teacher"* || " $* " == *" --dry_run"* ]] ||
    die "OPENAI_API_KEY is not set; export it, or take --teacher rules (no language model) or --dry_run True"

say "chain-of-thought data from $SOURCE"
set_up
split_flags cot_data.generate_data,cot_data.preprocess_data --source "$SOURCE" -- "$@"
need_source_data "$SOURCE"
say "asking the teacher"
run -m cot_data.generate_data ${FLAGS[@]+"${FLAGS[@]}"}
[[ " $* " != *" --dry_run"* ]] || exit 0
say "tuning samples"
flags_for cot_data.preprocess_data
run -m cot_data.preprocess_data ${FLAGS[@]+"${FLAGS[@]}"}

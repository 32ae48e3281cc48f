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
#
# SOURCE  netflix | amazon-book | movielens (default: netflix)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
usage 0 "$@"
SOURCE=${SOURCE:-netflix}
one_of SOURCE "$SOURCE" netflix amazon-book movielens
[[ -n "${OPENAI_API_KEY:-}" || " $* " == *" --teacher"* || " $* " == *" --dry_run"* ]] ||
    die "OPENAI_API_KEY is not set; export it, or take --teacher rules (no language model) or --dry_run True"

SERVER= ASKING= WATCHER=
stop() { # whatever this script started, however it ends
    trap - EXIT INT TERM HUP
    kill $ASKING $WATCHER $SERVER 2>/dev/null || true
    [ -z "$SERVER" ] || wait "$SERVER" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

serve_base_model() { # serve_base_model: `transformers serve` with BASE_MODEL on a free port; sets OPENAI_BASE_URL
    local folder=$BASE_MODEL log=$TLREC_HOME/cot_data/local_server.log port until=$((SECONDS + 600))
    [ -d "$folder" ] || folder=$TLREC_HOME/base_model/$BASE
    port=$("$PYTHON" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    say "starting \`transformers serve\` with $BASE on port $port; its log: $log"
    mkdir -p "$(dirname "$log")"
    # from the folder's parent, so that its name is the model's name; the user's key is not for this server
    (cd "$folder/.." && exec env -u OPENAI_API_KEY "$PYTHON" -P -m transformers.cli.transformers serve "$BASE" \
        --host 127.0.0.1 --port "$port") >"$log" 2>&1 </dev/null &
    SERVER=$!
    (tail --pid=$$ -f /dev/null; kill $SERVER) >/dev/null 2>&1 </dev/null & # this script may be killed with -9
    WATCHER=$!
    until "$PYTHON" -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5)' \
        "http://127.0.0.1:$port/health" 2>/dev/null; do
        kill -0 $SERVER 2>/dev/null || die "the server ended before it answered: $(tail -n 1 "$log")"
        [ $SECONDS -lt $until ] || die "the server does not answer after 600 s; see $log"
        sleep 1
    done
    export OPENAI_BASE_URL=http://127.0.0.1:$port/v1
}

say "chain-of-thought data from $SOURCE"
set_up
SCRIPTS=cot_data.generate_data,cot_data.preprocess_data
split_flags $SCRIPTS --source "$SOURCE" -- "$@" # a misspelt flag is refused before a server starts
need_source_data "$SOURCE"
if [[ " $* " =~ \ --teacher[\ =]local\  && " $* " != *" --dry_run"* && -z "${OPENAI_BASE_URL:-}" ]]; then
    BASE_MODEL=${BASE_MODEL:-$EMBEDDED}
    pick_base_model
    serve_base_model
    split_flags $SCRIPTS --source "$SOURCE" --model "$BASE" --concurrency 2 --timeout 600 -- "$@"
fi
say "asking the teacher"
run -m cot_data.generate_data ${FLAGS[@]+"${FLAGS[@]}"} &
ASKING=$!
wait $ASKING # and not in the foreground, where a signal would wait for its end
ASKING=
[[ " $* " != *" --dry_run"* ]] || exit 0
say "tuning samples"
flags_for cot_data.preprocess_data
run -m cot_data.preprocess_data ${FLAGS[@]+"${FLAGS[@]}"}

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
SOURCE=$(value_of source "${SOURCE:-netflix}" "$@")
TEACHER=$(value_of teacher api "$@")
STAGES=$(value_of stages 3 "$@")
DRY_RUN=$(value_of dry_run False "$@")
[[ ${DRY_RUN,,} =~ ^(true|1)$ ]] || DRY_RUN=
ANSWERS=$(value_of output_dir "$TLREC_HOME/cot_data/$SOURCE" "$@")
one_of SOURCE "$SOURCE" netflix amazon-book movielens
one_of --teacher "$TEACHER" api local rules
[[ $STAGES =~ ^[123](,[123])*$ ]] || die "--stages $STAGES: give one or more of 1, 2, 3, as 1,2,3"
[[ -n "${OPENAI_API_KEY:-}" || $TEACHER != api || -n $DRY_RUN ]] ||
    die "OPENAI_API_KEY is not set; export it, or take --teacher rules (no language model) or --dry_run True"

SERVER= ASKING= WATCHERS=
stop() { # whatever this script started, however it ends
    trap - EXIT INT TERM HUP
    kill $ASKING $WATCHERS $SERVER 2>/dev/null || true
    wait $ASKING $SERVER 2>/dev/null || true
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

watch_over() { # watch_over PID: it ends with this script, which may be killed with -9
    (tail --pid=$$ -f /dev/null; kill "$1") >/dev/null 2>&1 </dev/null &
    WATCHERS+=" $!"
}

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
    watch_over $SERVER
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
if [[ $TEACHER = local && -z $DRY_RUN && -z "${OPENAI_BASE_URL:-}" ]]; then
    BASE_MODEL=${BASE_MODEL:-$EMBEDDED}
    pick_base_model
    serve_base_model
    split_flags $SCRIPTS --source "$SOURCE" --model "$BASE" --concurrency 2 --timeout 600 -- "$@"
fi
say "asking the teacher"
printf '+ python'; printf ' %q' -m cot_data.generate_data ${FLAGS[@]+"${FLAGS[@]}"}; printf '\n'
"$PYTHON" -m cot_data.generate_data ${FLAGS[@]+"${FLAGS[@]}"} &
ASKING=$!
watch_over $ASKING
wait $ASKING # and not in the foreground, where a signal would wait for its end
ASKING=
[ -z "$DRY_RUN" ] || exit 0
say "tuning samples"
split_flags $SCRIPTS --source "$SOURCE" --input_path "$ANSWERS/three_stages.json" -- "$@"
flags_for cot_data.preprocess_data
run -m cot_data.preprocess_data ${FLAGS[@]+"${FLAGS[@]}"}

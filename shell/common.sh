# Shared by every wrapper: finds the root, sets up Python, data and the base model. Sourced, not run.
#
# Variables that a user may set:
#   BASE_MODEL     model folder, or its name under base_model/ (default: llama-7b where it is, else smollm2-135m)
#   TLREC_HOME     where data, models, adapters and results live (default: the repository)
#   TLREC_MIRROR   folder laid out like the authors' repository, used instead of a download
#   PROCESSES      processes that tune and score together (default: one per GPU)
#   COT            skip: chains without the chain-of-thought stage
#   COT_SAMPLES    how many liked samples the rules teacher is asked about where it must stand in (default: 300)
#   PYTHON         a Python with requirements.txt installed (default: found, else .venv is made)

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export TLREC_HOME=${TLREC_HOME:-$ROOT}
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}
export TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1}
[ -t 2 ] || export TQDM_MININTERVAL=${TQDM_MININTERVAL:-15} # a progress line now and then in a log
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-600} # seconds torchrun waits for a step's end
EMBEDDED=smollm2-135m

say() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 2; }

# usage N "$@": prints the script's own header and exits 2 unless at least N arguments come before the flags
usage() {
    local wanted=$1 word given=0
    shift
    for word in "$@"; do case $word in --*) break ;; *) given=$((given + 1)) ;; esac; done
    if [ "$given" -ne "$wanted" ] || [ "${1:-}" = "--help" ]; then
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
        exit 2
    fi
}

one_of() { # one_of WHAT VALUE CHOICE...
    local what=$1 value=$2 choice
    shift 2
    for choice in "$@"; do [ "$value" != "$choice" ] || return 0; done
    die "$what '$value' is unknown; choose from: $*"
}

has_requirements() {
    [ -n "$1" ] && command -v "$1" >/dev/null 2>&1 && "$1" - "$ROOT/requirements.txt" 2>/dev/null <<'PYTHON'
import importlib.metadata, sys
assert (3, 11) <= sys.version_info
for line in open(sys.argv[1]):
    name, _, pinned = line.split("#")[0].strip().partition("==")
    assert not name or importlib.metadata.version(name).split("+")[0] == pinned
PYTHON
}

set_up() { # finds or makes a Python that has the requirements
    local candidate
    for candidate in "${PYTHON:-}" "$ROOT/.venv/bin/python" python3 python; do
        if has_requirements "$candidate"; then
            PYTHON=$(command -v "$candidate")
            note "Python: $PYTHON (requirements are there)"
            return
        fi
    done
    for candidate in python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys, venv; assert (3, 11) <= sys.version_info < (3, 14)' 2>/dev/null; then
            say "set-up: $ROOT/.venv with requirements.lock and torch ($candidate); once, a few minutes"
            "$candidate" -m venv "$ROOT/.venv"
            PYTHON=$ROOT/.venv/bin/python
            pip_install --require-hashes --no-deps --only-binary :all: -r "$ROOT/requirements.lock"
            pip_install -r "$ROOT/requirements.txt" # what is left of it: torch, CPU or CUDA build
            return
        fi
    done
    die "no Python 3.11 to 3.13 with venv was found; install one, or set PYTHON"
}

pip_install() { # pip_install ARGUMENTS of pip install
    "$PYTHON" -m pip install --quiet --disable-pip-version-check "$@" ||
        die "${*: -1} could not be installed; see pip's message above"
}

use_gpu() { # use_gpu ID: CUDA devices to run on, as 0 or 0,1; `gpu` is the first one, `cpu` is none
    local ids
    if [ "$1" = cpu ]; then
        export CUDA_VISIBLE_DEVICES=
        return
    fi
    [[ $1 =~ ^(gpu|[0-9]+(,[0-9]+)*)$ ]] || die "GPU '$1' is unknown; give a CUDA device number, gpu for the first, or cpu"
    export CUDA_VISIBLE_DEVICES=${1/gpu/0}
    if command -v nvidia-smi >/dev/null 2>&1; then
        IFS=, read -ra ids <<<"$CUDA_VISIBLE_DEVICES"
        PROCESSES=${PROCESSES:-${#ids[@]}}
        return
    fi
    note "GPU $1 was asked for, but this machine has no CUDA: running on the CPU"
}

pick_base_model() { # sets BASE_MODEL and BASE (its name)
    if [ -z "${BASE_MODEL:-}" ]; then
        if [ -d "$TLREC_HOME/base_model/llama-7b" ]; then
            BASE_MODEL=llama-7b
        else
            note "no LLaMA-7B in $TLREC_HOME/base_model/llama-7b: using the embedded $EMBEDDED"
            BASE_MODEL=$EMBEDDED
        fi
    fi
    [ "$BASE_MODEL" != "$EMBEDDED" ] || run -m base_model.prepare "$EMBEDDED"
    BASE=$(basename "$BASE_MODEL")
    note "base model: $BASE_MODEL"
}

need_target_data() { # need_target_data movie|book
    if [ "$1" = movie ]; then
        need_movielens rec_data/movie
    else
        run -m rec_data.published rec_data/book/train.json rec_data/book/valid.json rec_data/book/test.json
    fi
}

need_source_data() { # need_source_data SOURCE [SPLIT...]
    local source=$1 split files=()
    shift
    if [ "$source" = movielens ]; then
        need_movielens instruction_data/movielens
        return
    fi
    for split in train "$@"; do files+=("instruction_data/$source/$split.json"); done
    run -m rec_data.published "${files[@]}"
}

need_movielens() { run -m rec_data.movielens --folder "$1"; } # makes what is missing; your own data is kept

# start_of_chain TARGET: sets START (adapter or empty) and CHAIN (its name or empty)
start_of_chain() {
    START= CHAIN=
    local alpaca=$TLREC_HOME/instruction_model/$BASE/$1/alpaca
    if [ -f "$alpaca/adapter_config.json" ]; then
        START=$alpaca CHAIN=alpaca
    elif [ "$BASE" = "$EMBEDDED" ]; then
        note "$EMBEDDED is instruction-tuned already: the chain starts without the alpaca adapter"
    elif [ "${ALPACA:-}" = skip ]; then
        note "ALPACA=skip: the chain starts without the alpaca adapter"
    else
        die "no alpaca adapter in $alpaca; make it with \`bash shell/alpaca.sh GPU $1\`, or set ALPACA=skip"
    fi
}

# pick_cot SOURCE: sets COT_DATA to the data of the chain-of-thought stage: the user's own, else the published file, else
# what the rules teacher makes of SOURCE. Empty with COT=skip.
pick_cot() {
    local name=cot_data/stage123.json by_rules=$TLREC_HOME/cot_data/rules_$1/stage123_rules.json said
    COT_DATA=
    [ -z "${COT:-}" ] || one_of COT "$COT" skip
    if [ "${COT:-}" = skip ]; then
        note "COT=skip: no chain-of-thought stage"
    elif [ -f "$TLREC_HOME/$name" ]; then
        run -m rec_data.published $name # says whose it is
        COT_DATA=$TLREC_HOME/$name
    elif [ ! -f "$by_rules" ] && said=$(run -m rec_data.published $name 2>&1); then
        printf '%s\n' "$said"
        COT_DATA=$TLREC_HOME/$name
    else
        note "NOTICE: neither published nor generated chain-of-thought data is here; the rules teacher stands in for it."
        note "It is no language model. bash ./shell/generate_cot_data.sh asks one; COT=skip leaves the stage out."
        [ -z "${said:-}" ] || note "${said##*error: }"
        COT_DATA=$by_rules
        need_source_data "$1"
        make_cot_by_rules "$1" "${COT_SAMPLES:-300}" "$by_rules" # seconds, and the same each time
    fi
}

make_cot_by_rules() { # make_cot_by_rules SOURCE SAMPLES OUTPUT
    run -m cot_data.generate_data --teacher rules --source "$1" --max_samples "$2" --output_dir "$(dirname "$3")"
    run -m cot_data.preprocess_data --input_path "$(dirname "$3")/three_stages.json" --output_path "$3"
}

cot_name() { # as tlrec names the stage: data made by rules says so
    local name
    [ -n "$COT_DATA" ] || return 0
    name=$(basename "$COT_DATA" .json)
    if [[ $name != *rules* ]] && grep -qs '"teacher": "rules' "${COT_DATA%.json}_about.json"; then name+=_rules; fi
    echo "$name"
}

# value_of FLAG DEFAULT WORDS...: what a user's words give --FLAG; True where it stands alone
value_of() {
    local flag=$1 value=$2 word name
    shift 2
    while [ $# -gt 0 ]; do
        word=$1 name=${1#--}
        shift
        name=${name%%=*}
        [[ $word == --* && ${name//-/_} == "$flag" ]] || continue
        value=True
        if [[ $word == *=* ]]; then value=${word#*=}; elif [[ ${1:---} != --* ]]; then value=$1; fi
    done
    printf '%s' "$value"
}

joined() { local IFS=_; echo "$*"; }

# split_flags SCRIPTS DEFAULT... -- "$@": checks the user's flags against all SCRIPTS (a,b) before anything runs
split_flags() { FLAG_SCRIPTS=$1; shift; FLAG_WORDS=("$@"); flags_for "${FLAG_SCRIPTS%%,*}"; }

# flags_for SCRIPT: sets FLAGS to the defaults and user flags that this script takes
flags_for() {
    local file
    file=$(mktemp)
    "$PYTHON" "$ROOT/shell/flags.py" "$1" "$FLAG_SCRIPTS" ${FLAG_WORDS[@]+"${FLAG_WORDS[@]}"} >"$file" || { rm -f "$file"; exit 2; }
    mapfile -d '' -t FLAGS <"$file"
    rm -f "$file"
}

# as_child COMMAND...: runs it, and does not leave it behind. TERM, INT and HUP are passed on, its end is awaited, and
# this shell ends then, with its exit code. Where the script was killed with -9, it gets TERM within a second.
as_child() {
    local child= watcher before passed= code=0
    kill -0 $$ 2>/dev/null || exit 143 # what is left of a killed script starts nothing more
    before=$(trap -p TERM INT HUP)
    trap 'passed=yes; kill -TERM $child 2>/dev/null || true' TERM INT HUP # a background command ignores INT
    "$@" <&0 & # in the foreground, a signal would wait for its end
    child=$!
    [ -z "$passed" ] || kill -TERM $child 2>/dev/null || true
    (while kill -0 $$ && kill -0 $child; do sleep 0.5; done; kill -0 $$ || kill -TERM $child) &>/dev/null </dev/null &
    watcher=$!
    while kill -0 $child 2>/dev/null; do wait $child 2>/dev/null || true; done # a signal interrupts `wait`
    wait $child 2>/dev/null || code=$?
    kill $watcher 2>/dev/null || true
    wait $watcher 2>/dev/null || true
    trap - TERM INT HUP
    eval "$before"
    [ -z "$passed" ] || exit $((code > 0 ? code : 143))
    return $code
}

run() { # run SCRIPT|-m MODULE ARGUMENTS...: prints the command, then runs it with the Python of set_up
    printf '+ python'; printf ' %q' "$@"; printf '\n'
    if [ "$1" = -m ]; then
        as_child "$PYTHON" "$@"
    elif [ "${PROCESSES:-1}" -gt 1 ] && [[ $1 =~ ^(ins_tuning|rec_tuning|evaluate)\.py$ ]]; then
        as_child "$PYTHON" -m torch.distributed.run --standalone --nproc_per_node "$PROCESSES" "$ROOT/$1" "${@:2}"
    else
        as_child "$PYTHON" "$ROOT/$1" "${@:2}"
    fi
}

check_seeds() { # check_seeds SEED...
    local seed
    [ $# -gt 0 ] || die "no seed is named"
    for seed in "$@"; do
        [[ $seed =~ ^[0-9]{1,10}$ ]] && ((10#$seed < 1 << 32)) || die "seed '$seed' is not a whole number below 2^32"
    done
}

check_shots() { # check_shots COUNT...
    local shots
    [ $# -gt 0 ] || die "SHOTS names no shot count; give some, as '16 64', or unset it"
    for shots in "$@"; do [[ $shots =~ ^([1-9][0-9]{0,8}|all)$ ]] || die "shot count '$shots' is no number, nor all"; done
}

# few_shots [DEFAULT... --] "$@": rec-tuning from START and evaluation at every shot count, for SEED and TARGET
few_shots() {
    local shots adapter
    [[ " $* " == *" -- "* ]] || set -- -- "$@"
    for shots in ${SHOTS-16 64 256}; do
        adapter=$TLREC_HOME/output_model/$BASE/$TARGET/$CHAIN/${SEED}_$shots
        say "rec-tuning: $shots shots, seed $SEED -> $adapter"
        split_flags rec_tuning,evaluate --val_data_path "$TLREC_HOME/rec_data/$TARGET/valid.json" "$@"
        run rec_tuning.py --base_model "$BASE_MODEL" --train_data_path "$TLREC_HOME/rec_data/$TARGET/train.json" \
            --output_dir "$adapter" --sample "${shots/all/-1}" --seed "$SEED" \
            ${START:+--resume_from_checkpoint "$START"} ${FLAGS[@]+"${FLAGS[@]}"}
        say "AUC: $shots shots, seed $SEED"
        flags_for evaluate
        run evaluate.py --base_model "$BASE_MODEL" --lora_weights "$adapter" --skip_recorded True \
            --test_data_path "$TLREC_HOME/rec_data/$TARGET/test.json" ${FLAGS[@]+"${FLAGS[@]}"}
    done
}

#!/usr/bin/env bash
# Systems x shots x seeds on TARGET over a list of GPUs, one cell (system, shots, seed) per GPU at a time.
#
#     bash ./shell/sweep.sh TARGET
#     GPUS="0 1" SEEDS="0 1 2" SYSTEMS="tlrec GRU4Rec" bash ./shell/sweep.sh movie
#
# TARGET  movie | book
#
# GPUS     each entry works off cells on its own: CUDA device numbers, gpu for the first one, or cpu (default: gpu)
# SYSTEMS  tlrec (few_shot.sh), tallrec (instruct_7B.sh), or names of baselines (default: both and the six baselines)
# SHOTS    (default: "16 64 256")
# SEEDS    (default: "0 1 2 3 4")
# LLM_FLAGS, BASELINE_FLAGS, CHAIN_FLAGS   flags for tlrec and tallrec, for baselines, for the chain of tlrec
#
# What is recorded is skipped, so the same command goes on after a stop. Several sweeps may share one folder: a cell is
# locked (flock on a file in results/sweep/TARGET) while it runs, and the kernel frees the lock when its processes end,
# in a crash too. Between machines this needs a file system that carries flock, as NFS does unless mounted nolock or
# local_lock. Each cell's output is results/sweep/TARGET/CELL.log. Failed cells are listed at the end, with exit code 1.
# Ctrl-C and SIGTERM end the running cells, a tuning after its step, saved; exit code 130 or 143.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
usage 1 "$@"
TARGET=$1
[ $# -eq 1 ] || die "sweep.sh takes no flags; set LLM_FLAGS, BASELINE_FLAGS or CHAIN_FLAGS"
one_of TARGET "$TARGET" movie book
command -v flock >/dev/null || die "flock is missing; install util-linux"
read -ra GPUS <<<"${GPUS:-gpu}"
read_once() { # read_once NAME WORDS: the array NAME, each word once
    local -n list=$1
    local word words
    read -ra words <<<"$2"
    list=()
    for word in "${words[@]}"; do [[ " ${list[*]-} " == *" $word "* ]] || list+=("$word"); done
}
read_once SYSTEMS "${SYSTEMS:-tlrec tallrec GRU4Rec Caser SASRec DROS GRU-BERT DROS-BERT}"
read_once SHOTS "${SHOTS:-16 64 256}"
read_once SEEDS "${SEEDS:-0 1 2 3 4}"
[ ${#GPUS[@]} -gt 0 ] || die "GPUS names none; give device numbers, gpu or cpu"
[ ${#SYSTEMS[@]} -gt 0 ] || die "SYSTEMS names none"
for gpu in "${GPUS[@]}"; do [[ $gpu =~ ^(cpu|gpu|[0-9]+)$ ]] || die "GPU '$gpu' is unknown; give device numbers, gpu or cpu"; done
for system in "${SYSTEMS[@]}"; do one_of SYSTEMS "$system" tlrec tallrec GRU GRU4Rec Caser SASRec DROS GRU-BERT DROS-BERT; done
check_shots ${SHOTS[@]+"${SHOTS[@]}"}
check_seeds ${SEEDS[@]+"${SEEDS[@]}"}

say "sweep: $TARGET, ${#SYSTEMS[@]} systems x ${#SHOTS[@]} shot counts x ${#SEEDS[@]} seeds on ${GPUS[*]}"
set_up
export PYTHON TARGET
LOCKS=$TLREC_HOME/results/sweep/$TARGET
OUTCOMES=$(mktemp -d) # of this sweep: CELL.done, CELL.failed
trap 'rm -rf "$OUTCOMES"' EXIT
mkdir -p "$LOCKS"
{
    flock 9
    need_target_data "$TARGET"
    case " ${SYSTEMS[*]} " in *" tlrec "* | *" tallrec "*) pick_base_model; export BASE_MODEL ;; esac
} 9>"$LOCKS/preparation.lock"
if [ "$TARGET" = movie ]; then export SOURCE=${SOURCE:-netflix}; else export SOURCE=${SOURCE:-amazon-book}; fi

chain() { # chain GPU: what all cells of tlrec start from, made by one process while the others wait
    local code=0
    {
        as_child flock 8
        if [ ! -e "$OUTCOMES/chain" ]; then
            # shellcheck disable=SC2086 # a list of words
            as_child bash "$ROOT/shell/zero_shot.sh" "$1" "$TARGET" "$SOURCE" ${CHAIN_FLAGS:-} || code=$?
            [ $code -ne 0 ] || touch "$OUTCOMES/chain"
        fi
    } 8>"$LOCKS/chain.lock"
    return $code
}

run_cell() { # run_cell GPU SYSTEM SHOTS SEED
    # shellcheck disable=SC2086 # lists of words
    case $2 in
        tlrec) chain "$1" && SHOTS=$3 as_child bash "$ROOT/shell/few_shot.sh" "$1" "$4" "$TARGET" ${LLM_FLAGS:-} ;;
        tallrec) SHOTS=$3 as_child bash "$ROOT/shell/instruct_7B.sh" "$1" "$4" ${LLM_FLAGS:-} ;;
        *) SHOTS=$3 as_child bash "$ROOT/shell/baselines.sh" "$1" "$4" "$TARGET" --system "$2" ${BASELINE_FLAGS:-} ;;
    esac
}

# try_cell GPU SYSTEM SHOTS SEED [-n]: run it, unless this sweep has; with -n, not while another process has its lock.
# A child of its worker's, since it ends with `exit`.
try_cell() {
    local cell=$2-$3-$4
    {
        as_child flock ${5:-} 9 || exit 0
        [ ! -e "$OUTCOMES/$cell.done" ] && [ ! -e "$OUTCOMES/$cell.failed" ] || exit 0
        note "$cell: on $1"
        if run_cell "$1" "$2" "$3" "$4" >"$LOCKS/$cell.log" 2>&1 </dev/null; then
            touch "$OUTCOMES/$cell.done"
        else
            touch "$OUTCOMES/$cell.failed"
            note "$cell: FAILED, see $LOCKS/$cell.log"
        fi
    } 9>"$LOCKS/$cell.lock"
}

worker() { # worker GPU: first the cells that nobody runs, then those that somebody did: recorded by now, or given up
    local again system shots seed
    trap - INT TERM HUP
    for again in -n ""; do
        for seed in "${SEEDS[@]}"; do
            for system in "${SYSTEMS[@]}"; do
                for shots in "${SHOTS[@]}"; do as_child try_cell "$1" "$system" "$shots" "$seed" $again; done
            done
        done
    done
}

stop() { # stop CODE: pass the wish on; a second one too
    [ -n "$STOPPED" ] || say "sweep: stopping; running cells end, a tuning after its step, and the same command goes on there"
    STOPPED=${STOPPED:-$1}
    kill -TERM ${WORKERS[@]+"${WORKERS[@]}"} 2>/dev/null || true
}

WORKERS=() STOPPED=
trap 'stop 130' INT
trap 'stop 143' TERM HUP
for gpu in "${GPUS[@]}"; do
    worker "$gpu" &
    WORKERS+=($!)
done
for worker in "${WORKERS[@]}"; do
    while kill -0 "$worker" 2>/dev/null; do wait "$worker" || true; done # a signal interrupts `wait`
done
[ -z "$STOPPED" ] || exit "$STOPPED"
FAILED=()
for file in "$OUTCOMES"/*.failed; do [ ! -e "$file" ] || FAILED+=("$(basename "$file" .failed)"); done
FINISHED=$(find "$OUTCOMES" -name '*.done' | wc -l)
MISSING=$((${#SYSTEMS[@]} * ${#SHOTS[@]} * ${#SEEDS[@]} - FINISHED - ${#FAILED[@]}))
say "sweep: $FINISHED cells finished or recorded before, ${#FAILED[@]} failed"
[ $MISSING -eq 0 ] || note "$MISSING cells have no outcome: a worker ended early; the same command goes on there"
for cell in ${FAILED[@]+"${FAILED[@]}"}; do note "$cell: $LOCKS/$cell.log: $(tail -n 1 "$LOCKS/$cell.log")"; done
[ ${#FAILED[@]} -eq 0 ] && [ $MISSING -eq 0 ]

# Sourced by every wrapper: prints its help, finds or makes a Python with the requirements, and sets what scripts read.
#
# Variables of every wrapper:
#   BASE_MODEL    model folder, its name under base_model/, or owner/name[@revision] on the Hugging Face Hub (default:
#                 llama-7b where it is, else smollm2-135m)
#   TLREC_HOME    where data, models, adapters and results live (default: the repository)
#   TLREC_MIRROR  folder laid out like the authors' repository, used instead of a download
#   TLREC_CACHE   folder for downloads that several checkouts share (default: ~/.cache/tlrec)
#   PROCESSES     processes that tune and score together (default: one per GPU)
#   PYTHON        a Python with requirements.txt installed (default: found, else .venv is made)

set -euo pipefail
unset CDPATH
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
before= problem=
for word in "$@"; do # after a flag, -h is its value
    if [[ "$word" = --help || "$word" = -h && ("$before" != --* || "$before" = *=*) ]]; then
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
        echo
        sed -n '/^# Variables/,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
    fi
    before=$word
done
export TLREC_HOME=${TLREC_HOME:-$ROOT}
export PYTHONSAFEPATH=1 # no Python imports from the current folder, which may be a downloaded one
IFS=: read -ra entries <<<"${PYTHONPATH:-}"
PYTHONPATH=$ROOT
for entry in "${entries[@]}"; do [[ "$entry" != /* ]] || PYTHONPATH+=:$entry; done # others follow the current folder
export PYTHONPATH TOKENIZERS_PARALLELISM=false
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-600} # seconds torchrun waits for a step's end

say() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 2; }

run() { # run SCRIPT|-m MODULE ARGUMENTS...: prints the command, then runs it
    printf '+ python'; printf ' %q' "$@"; printf '\n'
    if [ "$1" = -m ]; then "$PYTHON" "$@"; else "$PYTHON" "$ROOT/$1" "${@:2}"; fi
}

in_root() { (cd "$ROOT" && "$@"); } # Python 3.10 and older know no PYTHONSAFEPATH

choose_python() { # choose_python CANDIDATE: sets PYTHON to its absolute path where it has the requirements
    local path
    path=$(type -P -- "$1") || return 1
    [[ "$path" = /* ]] || path=$PWD/$path
    in_root "$path" - 2>/dev/null <<'END' && PYTHON=$path
import importlib.metadata, sys
assert (3, 11) <= sys.version_info
for line in open("requirements.txt"):
    name, _, pinned = line.split("#")[0].strip().partition("==")
    assert not name or importlib.metadata.version(name).split("+")[0] == pinned
END
}

pip_install() { # pip_install ARGUMENTS of pip install
    in_root "$PYTHON" -m pip install --quiet --disable-pip-version-check "$@" ||
        die "${*: -1} could not be installed; see pip's message above"
}

read -r PYTHON <<<"${PYTHON:-}" # as every path is read: blanks around it and None are nothing, ~ is expanded
PYTHON=${PYTHON/#\~\//~/}; [ "$PYTHON" != None ] || PYTHON=
if [ -n "$PYTHON" ]; then
    choose_python "$PYTHON" || die "PYTHON $PYTHON: no Python from 3.11 on with the packages of requirements.txt;" \
        "install them there, or unset PYTHON"
    return
fi
active=${VIRTUAL_ENV:-${CONDA_PREFIX:-}} # of venv or uv, of conda
for candidate in ${active:+"$active/bin/python"} "$ROOT/.venv/bin/python" python3 python; do
    ! choose_python "$candidate" || return 0
done
for candidate in python3.13 python3.12 python3.11 python3; do
    version=$(in_root "$candidate" -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14)
print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    [ -w "$ROOT" ] || die "$ROOT: not writable, so no .venv; install requirements.txt elsewhere and set PYTHON"
    [ -e "$ROOT/.venv" ] && partial= || partial=$ROOT/.venv
    if output=$(in_root "$candidate" -m venv .venv 2>&1); then
        say "set-up: $ROOT/.venv with requirements.lock and torch ($candidate); once, a few minutes"
        PYTHON=$ROOT/.venv/bin/python
        pip_install --require-hashes --no-deps --only-binary :all: -r requirements.lock
        pip_install -r requirements.txt # what is left of it: torch, CPU or CUDA build
        return
    fi
    [ -z "$partial" ] || rm -rf "$partial"
    cure="apt install python$version-venv" # Debian and Ubuntu ship Python without ensurepip
    [[ "$output" = *ensurepip* || "$output" = *"No module named"* ]] || cure=${output##*$'\n'}
    problem=${problem:-$candidate cannot make .venv ($cure); }
done
die "${problem:-no Python 3.11 to 3.13 was found; }install what is missing, or set PYTHON to a Python with requirements.txt"

# What the check_*.sh scripts share.  Sourced, not run.
# In: BUILD (default: build).  Gives: $ESRGAN, $MODEL (x4), $WORK (a folder that goes away), and the
# functions below.  A script ends with `finish`.

set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$ROOT/$BUILD ;; esac
ESRGAN=$BUILD/esrgan
GOLDEN=$ROOT/tests/golden/cases
MODEL=$GOLDEN/basicsr-x4.pth
PNG="python3 $ROOT/tests/support/png.py"
WORK=$(mktemp -d "${TMPDIR:-/tmp}/esrgan-check.XXXXXX")
trap 'chmod -R u+w "$WORK"; rm -rf "$WORK"' EXIT
unset ESRGAN_MODEL ESRGAN_THREADS ESRGAN_MAX_MEMORY ESRGAN_ISA
failures=0
checks=0

fail() {
    failures=$((failures + 1))
    echo "FAILED: $*" >&2
}

# expect STATUS COMMAND...: runs it; its output lies in $WORK/stdout and $WORK/stderr.
expect() {
    local wanted=$1 got
    shift
    checks=$((checks + 1))
    timeout 120 "$@" >"$WORK/stdout" 2>"$WORK/stderr" </dev/null
    got=$?
    [ "$got" = "$wanted" ] && return 0
    fail "status $got, not $wanted: $*"
    sed 's/^/    /' "$WORK/stderr" >&2
}

# said PATTERN: the last command's stderr has a line that matches.
said() {
    checks=$((checks + 1))
    grep -qE -- "$1" "$WORK/stderr" || fail "stderr lacks '$1': $(cat "$WORK/stderr")"
}

# printed PATTERN: the same for stdout.
printed() {
    checks=$((checks + 1))
    grep -qE -- "$1" "$WORK/stdout" || fail "stdout lacks '$1': $(cat "$WORK/stdout")"
}

# silent stdout|stderr: nothing there.
silent() {
    checks=$((checks + 1))
    [ ! -s "$WORK/$1" ] || fail "$1 is not empty: $(cat "$WORK/$1")"
}

# is VALUE VALUE [WHAT]
is() {
    checks=$((checks + 1))
    [ "$1" = "$2" ] || fail "${3:-}: '$1' is not '$2'"
}

# same FILE FILE: byte for byte.
same() {
    checks=$((checks + 1))
    cmp -s "$1" "$2" || fail "$1 and $2 differ"
}

exists() {
    checks=$((checks + 1))
    [ -s "$1" ] || fail "$1 is not there"
}

# only FOLDER NAME...: the folder holds these and nothing else, hidden or not.
only() {
    local folder=$1
    shift
    is "$(ls -A "$folder" | LC_ALL=C sort | tr '\n' ' ')" \
        "$(printf '%s\n' "$@" | LC_ALL=C sort | sed '/^$/d' | tr '\n' ' ')" "files in $folder"
}

# valid_json: the last command's stdout is JSON.
valid_json() {
    checks=$((checks + 1))
    python3 -m json.tool <"$WORK/stdout" >/dev/null 2>"$WORK/json" ||
        fail "no valid JSON: $(cat "$WORK/json")"
}

# json EXPRESSION: prints a value of the last command's JSON; it is `j` in the expression.
json() { python3 -c 'import json, sys; j = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$WORK/stdout" "$1"; }

finish() {
    [ $failures = 0 ] || { echo "$(basename "$0"): $failures of $checks checks failed" >&2; exit 1; }
    echo "$(basename "$0"): $checks checks passed"
}

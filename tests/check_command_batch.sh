# Pictures of a batch side by side: the same results as one after the other, reports in order, no more at
# once than was asked for, errors and Ctrl-C as ever.
. "$(dirname "$0")/support/sh_lib.sh"
cd "$WORK" || exit 1

# Small ones, large ones, one that is none.
mkdir in
for i in 0 1 2 3 4 5 6 7 8; do $PNG make in/$i.png $((9 + i)) $((20 - 2 * i)) RGB; done
$PNG make in/2-large.png 90 61 RGB
$PNG make in/5-large.png 61 90 RGBA
echo nothing >in/4-none.png
files='["0.png", "1.png", "2-large.png", "2.png", "3.png", "4-none.png", "4.png", "5-large.png", "5.png", "6.png", "7.png", "8.png"]'

# batch OUT OPTION...: into a folder, all but one done.
batch() {
    local out=$1
    shift
    expect 3 "$ESRGAN" upscale -m "$MODEL" --json "$@" in -o "$out"
    said '^esrgan: in/4-none.png: '
    said '^esrgan: 11 done, 1 failed$'
    is "$(grep -o '^\[[0-9]*/12\]' stderr | sort -t[ -k2n -c 2>&1)" "" "$*: the order"
    is "$(grep -c '^\[' stderr)" 11 "$*"
    valid_json
    is "$(json '[f["input"][3:] for f in j["files"]] == '"$files")" True "$*"
    is "$(json '[f["status"] for f in j["files"]].index("failed"), "4-none.png" in j["files"][5]["error"]')" "(5, True)" "$*"
}

batch one --at-once 1 -j 2
is "$(json 'j["at_once"], {f["threads"] for f in j["files"] if f["status"] == "done"}')" "(1, {2})"
is "$(find one -type f | wc -l)" 11
batch limited --max-memory 3G -j 3
is "$(json 'j["at_once"]')" 1 "with a memory limit"
batch single -j 1
is "$(json 'j["at_once"]')" 1 "with one thread"
for options in "-j 2" "-j 3" "-j 5 --at-once 2" "-j 2 --at-once 64" "-j 3 --at-once 7 --backend auto"; do
    batch many $options
    is "$(json '[f["threads"] for f in j["files"] if "large" in f["input"]].count(1), 1 in [f["threads"] for f in j["files"] if "threads" in f]')" \
        "(0, True)" "$options: large ones on all threads, small ones on one"
    for f in one/*; do same "$f" "many/${f#*/}"; done
    is "$(find many -type f | wc -l)" 11 "$options"
    rm -r many
done
batch many -j 2
is "$(json 'j["at_once"]')" 3
batch many -j 4 --at-once 3
is "$(json 'j["at_once"]')" 3
expect 0 "$ESRGAN" upscale -m "$MODEL" --json -j 4 in/0.png in/1.png -o many
is "$(json 'j["at_once"]')" 2 "two pictures"
for wrong in 0 65 x; do expect 2 "$ESRGAN" upscale -m "$MODEL" --at-once $wrong in/0.png -o x.png; done

# What is there already is left out, wherever it stands.
rm many/3_out.png many/8_out.png
touch -d 2001-01-01 many/*
expect 3 "$ESRGAN" upscale -m "$MODEL" --skip-existing -j 3 in -o many
is "$(grep -c ': skipped, ' stderr)" 9
is "$(find many -newermt 2002-01-01 -type f | sort | tr '\n' ' ')" "many/3_out.png many/8_out.png "

# Two pictures for one result: the later one fails, whoever is faster.
mkdir other
cp in/1.png other
expect 3 "$ESRGAN" upscale -m "$MODEL" -j 3 in/0.png in/1.png other/1.png -o clash
said '^esrgan: other/1.png: its result clash/1_out.png is already that of in/1.png'
only clash 0_out.png 1_out.png

# One bar for all of them, on a terminal.
python3 "$ROOT/tests/support/terminal.py" "$ESRGAN" upscale -m "$MODEL" --backend reference -j 2 in -o bar >stderr
said '[0-9]+ of 12 \[#*\.*\] +[0-9]+ %'
said '^.*\[12/12\] in/8.png -> '

# Interrupted: soon, what was done stays and is whole.
rm in/4-none.png
for i in 0 1 2; do $PNG make in/9-$i.png 400 400 RGB; done
is "$(python3 "$ROOT/tests/support/interrupt.py" 2 "$ESRGAN" upscale -m "$MODEL" --backend reference -j 2 in -o cut 2>stderr)" "130 soon"
said '^esrgan: interrupted; [0-9]+ of 14 done$'
checks=$((checks + 1))
grep -A 30 'WARNING: ThreadSanitizer' stderr >&2 && fail "interrupted"
is "$(find . -name '.esrgan-*' | wc -l)" 0 "temporary files"
for f in cut/*; do expect 0 $PNG same "$f" "one/${f#*/}" 1; done
finish

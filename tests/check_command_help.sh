# --help, --version and the man page: there, well-formed, and in agreement.
. "$(dirname "$0")/support/sh_lib.sh"
cd "$WORK" || exit 1

expect 0 "$ESRGAN" --help
silent stderr
printed '^Usage: esrgan COMMAND'
cp stdout help
for a in -h help 'help help'; do
    expect 0 "$ESRGAN" $a
    same stdout help
done
version=$(sed -n 's/^#define ESRGAN_VERSION_STRING "\(.*\)"/\1/p' "$ROOT/include/esrgan.h")
for a in -V --version "upscale --version" "info -V"; do
    expect 0 "$ESRGAN" $a
    printed "^esrgan $version\$"
done

commands=$(sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' help)
checks=$((checks + 1))
[ "$(echo "$commands" | wc -w)" -ge 5 ] || fail "the help lists: $commands"
mkdir texts
for c in $commands; do
    [ $c = help ] && continue
    expect 0 "$ESRGAN" help $c
    silent stderr
    printed "^Usage: esrgan $c "
    cp stdout texts/$c
    expect 0 "$ESRGAN" $c --help
    same stdout texts/$c
    checks=$((checks + 1))
    awk -v c=$c 'length > 90 { print "help of " c ", line too long: " $0; bad = 1 } END { exit bad }' texts/$c ||
        fail "help of $c is too wide"
done

# The man page names the same options, command by command.
python3 - "$ROOT/examples/esrgan/esrgan.1" $commands <<'END' || fail "man page and help differ"
import re, sys
page = open(sys.argv[1]).read().replace("\\-", "-")
sections = dict(re.findall(r"^\.S[SH] (.*)\n((?:(?!\.S[SH] ).*\n)*)", page, re.M))
def named(text):
    return {o for line in re.findall(r"^\.TP\n(\.B.*)", text, re.M) for o in re.findall(r"--([a-z0-9-]+)", line)}
common, used, wrong = named(sections["COMMON OPTIONS"]), set(), 0
hidden = {"outscale", "jobs"}  # second names, in the page only
for command in sys.argv[2:]:
    if command not in sections:
        print("man page: no section for", command)
        wrong = 1
    elif command != "help":
        shown = set(re.findall(r"^  (?:-.,|   ) --([a-z0-9-]+)", open("texts/" + command).read(), re.M))
        own = named(sections[command])
        used |= shown
        for what, names in (("not in the man page", shown - own - common), ("not in the help", own - shown - hidden)):
            for name in sorted(names):
                print("%s: --%s is %s" % (command, name, what))
                wrong = 1
for name in sorted(common - used - hidden):
    print("common option --%s is in no help" % name)
    wrong = 1
sys.exit(wrong)
END
checks=$((checks + 1))
if command -v man >/dev/null; then
    expect 0 env MANROFFSEQ= LC_ALL=C.UTF-8 MANWIDTH=100 man --warnings -l "$ROOT/examples/esrgan/esrgan.1"
    silent stderr
    printed 'upscale pictures'
else
    echo "no man: the page is not formatted"
fi

# Exit statuses and variables are named alike in the man page and README.md.
for word in ESRGAN_MODEL ESRGAN_THREADS ESRGAN_MAX_MEMORY ESRGAN_ISA 130; do
    expect 0 grep -q "$word" "$ROOT/examples/esrgan/esrgan.1"
    expect 0 grep -q "$word" "$ROOT/README.md"
done
finish

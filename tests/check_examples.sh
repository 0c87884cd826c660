# The small programs beside the command do what they say, bad input too.
. "$(dirname "$0")/support/sh_lib.sh"
cd "$WORK" || exit 1
python3 -c "
open('in.ppm', 'wb').write(b'P6\n9 5\n255\n' + bytes((i * 11) % 256 for i in range(135)))"
expect 0 "$BUILD/examples/minimal" "$MODEL" in.ppm out.ppm
is "$(head -c 12 out.ppm | tr '\n' ' ')" "P6 36 20 255"
expect 0 "$ESRGAN" upscale -q -m "$MODEL" in.ppm -o out.png
python3 - "$ROOT/tests/support" <<'END' || fail "minimal and the command differ"
import sys
sys.path.insert(0, sys.argv[1])
import png
sys.exit(bytes(png.read("out.png")[4]) != open("out.ppm", "rb").read()[13:])
END
expect 1 "$BUILD/examples/minimal" none.pth in.ppm bad.ppm
said 'none.pth'
expect 1 "$BUILD/examples/minimal" "$MODEL" none.ppm bad.ppm
printf 'P6\n9 5\n255\nshort' >short.ppm
expect 1 "$BUILD/examples/minimal" "$MODEL" short.ppm bad.ppm
expect 2 "$BUILD/examples/minimal"
[ ! -e bad.ppm ] || fail "bad.ppm was written"
expect 0 "$BUILD/examples/minimal_cxx" "$MODEL"
printed '^RRDBNet x4: 24x16 -> 96x64$'
expect 1 "$BUILD/examples/minimal_cxx" none.pth
said 'minimal_cxx: .*none.pth'
expect 2 "$BUILD/examples/minimal_cxx"

# The sample of README.md compiles and runs.
sed -n '/^```c$/,/^```$/p' "$ROOT/README.md" | sed '/^```/d' >readme.c
libs=$(make --no-print-directory -s -C "$ROOT" BUILD="$BUILD" print-libs)
expect 0 ${CC:-cc} -std=c11 -Wall -Wextra -Werror -I"$ROOT/include" readme.c "$BUILD/libesrgan.a" $libs -o readme
cp "$MODEL" model.pth
expect 0 ./readme
printed '^32x24 -> 128x96$'
finish

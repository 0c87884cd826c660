# What goes wrong says so, with the right status, and leaves nothing behind.
. "$(dirname "$0")/support/sh_lib.sh"
cd "$WORK" || exit 1
mkdir in out
$PNG make in/a.png 16 12 RGB

# The command line.
expect 2 "$ESRGAN"
said '^Usage: esrgan COMMAND'
expect 2 "$ESRGAN" frobnicate
said "unknown command 'frobnicate'"
expect 2 "$ESRGAN" help frobnicate
expect 2 "$ESRGAN" upscale
said 'at least one picture'
for bad in "--sacle=2:unknown option '--sacle'" "-X:unknown option '-X'" "-s:-s needs a value" \
    "--precision:--precision needs a value" "--quiet=1:--quiet takes no value" "-j0:-j/--threads: '0'" \
    "-j x:-j/--threads: 'x'" "-s nan:-s/--scale: 'nan'" "-s -1:'-1' is not a number from" \
    "--precision=fp8:'fp8' is none of fp32, fp16, bf16" "--backend cuda:'cuda' is none of" "-t -5:'-5'" \
    "--max-memory lots:'lots' is not a number of bytes" "--quality 101:'101'" "--ext gif:'gif' is none of" \
    "-o out.gif:must end in" "--suffix a/b:slash"; do
    expect 2 "$ESRGAN" upscale -m "$MODEL" in/a.png ${bad%%:*}
    said "${bad#*:}"
    silent stdout
done
expect 2 "$ESRGAN" upscale -m "$MODEL" in
said 'a folder needs -o'
expect 2 "$ESRGAN" upscale -m "$MODEL" in/a.png in/a.png -o one.png.png --suffix
expect 2 "$ESRGAN" upscale -m "$MODEL" in/a.png in/b.png -o in/a.png
said 'several pictures need a folder'
expect 2 "$ESRGAN" upscale -m "$MODEL" in/a.png in/a.png -o -
expect 2 "$ESRGAN" upscale -m "$MODEL" in/a.png -o - --json
only in a.png
only out

# Pictures.
expect 1 "$ESRGAN" upscale -m "$MODEL" in/none.png -o out/x.png
said '^esrgan: in/none.png: No such file'
is "$(wc -l <stderr)" 1 'lines of complaint'
echo '<html>' >in/page.png
: >in/empty.jpg
$PNG make big.png 60 60 RGB
head -c 700 big.png >in/cut.png
"$ESRGAN" upscale -q -m "$MODEL" in/a.png -o big.jpg
"$ESRGAN" upscale -q -m "$MODEL" in/a.png -o big.webp
"$ESRGAN" upscale -q -m "$MODEL" in/a.png -o big.tif
for e in jpg webp tif; do head -c 400 big.$e >in/cut.$e; done
head -c 60 big.tif >in/cut2.tif
printf 'P6\n100000 100000\n255\n' >in/huge.ppm
python3 - <<'END'
import struct, zlib
def chunk(n, c): return struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c))
def png(path, w, h, packed):
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0))
                           + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
png("in/bomb.png", 1000000, 1000000, zlib.compress(b"0"))
png("in/zero.png", 0, 5, zlib.compress(b""))
png("in/noise.png", 5, 5, b"no zlib stream at all")
END
for f in page.png empty.jpg cut.png cut.jpg cut.webp cut.tif cut2.tif huge.ppm bomb.png zero.png noise.png; do
    expect 1 "$ESRGAN" upscale -m "$MODEL" "in/$f" -o out/x.png
    said "^esrgan: in/$f: "
    silent stdout
done
only out

# Models.
echo '<!DOCTYPE html><html>' >html.pth
: >empty.pth
head -c 5000 "$MODEL" >cut.pth
printf 'version https://git-lfs.github.com/spec/v1\n' >lfs.pth
for m in html:HTML empty:empty cut:'cut short' lfs:'Git LFS' none:'No such file'; do
    for command in "upscale in/a.png -o out/x.png" "info" "forward $GOLDEN/basicsr-x4.npy -o out/x.npy" "eval --hr in"; do
        set -- $command
        expect 1 "$ESRGAN" "$1" -m "${m%%:*}.pth" "${@:2}"
        said "^esrgan: ${m%%:*}.pth: .*${m#*:}"
        silent stdout
    done
done
expect 1 "$ESRGAN" upscale -m "$MODEL" --isa nonsense --backend native in/a.png -o out/x.png
only out

# Where the result cannot go.
echo text >file
expect 1 "$ESRGAN" upscale -m "$MODEL" in/a.png -o file/x.png
expect 1 "$ESRGAN" upscale -m "$MODEL" in/a.png -o /proc/x.png
expect 1 "$ESRGAN" upscale -m "$MODEL" in/a.png -o /dev/full --ext png
said '/dev/full.*No space left'
for e in png jpg webp tif; do
    expect 1 bash -c "ulimit -f 1; '$ESRGAN' upscale -m '$MODEL' big.png -o out/x.$e --bits 16 --quality 100 --lossless"
    said "out/x.$e.*File too large"
done
expect 1 bash -c "ulimit -f 1; '$ESRGAN' forward -m '$MODEL' '$GOLDEN/batch.npy' -o out/x.npy"
expect 1 bash -c "'$ESRGAN' info '$MODEL' >/dev/full"
expect 1 bash -c "'$ESRGAN' --help >/dev/full"
expect 1 "$ESRGAN" upscale -m "$MODEL" in/a.png --suffix=
said 'would replace the picture itself'
expect 1 "$ESRGAN" upscale -m "$MODEL" in/a.png -o in/a.png
only out
cp in/a.png kept.png
expect 1 bash -c "ulimit -f 1; '$ESRGAN' upscale -m '$MODEL' big.png -o kept.png"
same kept.png in/a.png
if [ "$(id -u)" != 0 ]; then
    chmod a-w out
    expect 1 "$ESRGAN" upscale -m "$MODEL" in/a.png -o out/x.png
    chmod u+w out
fi

# Memory: refused before it is taken, with a way to go on that works.
$PNG make mid.png 200 200 RGB
expect 1 "$ESRGAN" upscale -m "$MODEL" --max-memory 1M mid.png -o out/x.png
said 'mid.png: .* of memory would be needed \([0-9]+ bytes\), --max-memory is 1.0 MB; '
need=$(sed -n 's/.*(\([0-9]*\) bytes).*/\1/p' stderr)
less=$((need * 3 / 4))
expect 1 "$ESRGAN" upscale -m "$MODEL" --max-memory "$less" mid.png -o out/x.png
said "mid.png: .* \($need bytes\), --max-memory is .* with -t [0-9]+ it fits"
tile=$(sed -n 's/.*with -t \([0-9]*\) .*/\1/p' stderr)
expect 0 "$ESRGAN" upscale -m "$MODEL" --max-memory "$less" -t "$tile" mid.png -o fits.png
expect 1 env ESRGAN_MAX_MEMORY="$less" "$ESRGAN" upscale -m "$MODEL" mid.png -o out/x.png
said 'mid.png: '
expect 1 "$ESRGAN" upscale -m "$MODEL" --max-memory 100K mid.png -o out/x.png
said 'the pictures alone take'
only out

# A batch goes on.
rm -f in/*
cp mid.png in/a.png
echo nothing >in/b.png
cp mid.png in/c.png
expect 3 "$ESRGAN" upscale -m "$MODEL" in -o out
said '^esrgan: in/b.png: '
said '2 done, 1 failed'
only out a_out.png c_out.png
expect 3 "$ESRGAN" upscale -m "$MODEL" --json in gone.png -o out
valid_json
is "$(json '[f["status"] for f in j["files"]], j["exit_status"]')" "(['done', 'failed', 'done', 'failed'], 3)"
is "$(json '"b.png" in j["files"][1]["error"]')" True
rm out/*
mkdir twice
cp mid.png twice/a.png
expect 3 "$ESRGAN" upscale -m "$MODEL" in/a.png twice/a.png -o out
said 'twice/a.png: its result out/a_out.png is already that of in/a.png'
mkdir nothing
expect 1 "$ESRGAN" upscale -m "$MODEL" nothing -o out
said 'nothing: no pictures'

# Interrupted: 130, soon, nothing partial; what was done stays.
$PNG make large.png 700 700 RGB
rm -rf out/*
is "$(python3 "$ROOT/tests/support/interrupt.py" 1.5 "$ESRGAN" upscale -m "$MODEL" --backend reference -j 1 large.png -o out/large.png 2>stderr)" "130 soon"
said 'interrupted; 0 of 1 done'
only out
rm -rf in
mkdir in
$PNG make in/a.png 8 8 RGB
cp large.png in/b.png
is "$(python3 "$ROOT/tests/support/interrupt.py" 1.5 "$ESRGAN" upscale -m "$MODEL" --backend reference -j 1 in -o out 2>stderr)" "130 soon"
only out a_out.png
python3 - <<'END'
import struct
head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 700, 700)}"
head += b" " * ((-11 - len(head)) % 64) + b"\n"
open("large.npy", "wb").write(b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + bytes(4 * 3 * 700 * 700))
END
is "$(python3 "$ROOT/tests/support/interrupt.py" 1.5 "$ESRGAN" forward -m "$MODEL" --backend reference -j 1 large.npy -o out/large.npy 2>stderr)" "130 soon"
is "$(python3 "$ROOT/tests/support/interrupt.py" 1.5 "$ESRGAN" eval -m "$ROOT/examples/models/esrgan-small-x4.pth" --backend reference -j 1 --hr large.png -o sheets 2>stderr)" "130 soon"
said 'interrupted'
only out a_out.png
is "$(find . -name '.esrgan-*' | wc -l)" 0 "temporary files"
# An OpenBLAS that is none: only what needs it notices.
mkdir nolib
echo 'no library' >nolib/libopenblas.so.0
expect 0 env LD_LIBRARY_PATH=nolib "$ESRGAN" upscale -m "$MODEL" in/a.png -o out/native.png
expect 1 env LD_LIBRARY_PATH=nolib "$ESRGAN" upscale -m "$MODEL" -b openblas in/a.png -o out/x.png
said 'backend openblas: OpenBLAS cannot be loaded: .*libopenblas.so.0'
[ -e out/x.png ] && fail "out/x.png was written"
: | "${CC:-cc}" -shared -x c - -o nolib/libopenblas.so.0
expect 1 env LD_LIBRARY_PATH=nolib "$ESRGAN" upscale -m "$MODEL" -b openblas in/a.png -o out/x.png
said 'libopenblas.so.0 has no cblas_sgemm'
finish

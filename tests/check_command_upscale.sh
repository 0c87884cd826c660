# esrgan upscale: good runs, names, folders, pipes, scales, tiles.
. "$(dirname "$0")/support/sh_lib.sh"
cd "$WORK" || exit 1
mkdir in
$PNG make in/a.png 23 17 RGB

# One picture, with and without -o, as Real-ESRGAN's own tool is called too.
expect 0 "$ESRGAN" upscale -m "$MODEL" in/a.png
silent stdout
said '^in/a.png -> in/a_out.png: 23x17 -> 92x68, [0-9.]+ s$'
only in a.png a_out.png
is "$($PNG size in/a_out.png)" "92x68 3 8"
expect 0 "$ESRGAN" upscale -q -m "$MODEL" in/a.png -o b.png
silent stderr
same in/a_out.png b.png
expect 0 "$ESRGAN" -m "$MODEL" -i in/a.png -o c.png --fp32
same b.png c.png
rm in/a_out.png

# Names: suffix, extension, -n, folders that do not exist yet.
expect 0 "$ESRGAN" upscale -m "$MODEL" --suffix big --ext tif -o new/er/ in/a.png
only new/er a_big.tif
expect 0 "$ESRGAN" upscale -m "$MODEL" --suffix= -o new/plain/ in/a.png
same new/plain/a.png b.png
mkdir models
cp "$MODEL" models/Known_x4.pth
expect 0 "$ESRGAN" upscale -n Known_x4 in/a.png -o n.png
same n.png b.png
expect 1 "$ESRGAN" upscale -n Unknown in/a.png -o never.png
said "no model 'Unknown.pth' in .*models"
expect 0 env ESRGAN_MODEL="$MODEL" "$ESRGAN" upscale in/a.png -o env.png
same env.png b.png

# Every thread count, both plain backends each with itself, tiles of an exact size.
for j in 1 2 3 7; do
    expect 0 "$ESRGAN" upscale -q -m "$MODEL" -j $j in/a.png -o "j$j.png"
    same "j$j.png" b.png
    expect 0 "$ESRGAN" upscale -q -m "$MODEL" -j $j --backend reference in/a.png -o "r$j.png"
    same "r$j.png" r1.png
    expect 0 env ESRGAN_THREADS=$j "$ESRGAN" upscale -q -m "$MODEL" --backend openblas in/a.png -o "o$j.png"
    same "o$j.png" o1.png
done
for precision in fp16 bf16; do
    expect 0 "$ESRGAN" upscale -q -m "$MODEL" -p $precision in/a.png -o $precision.png
    expect 0 $PNG same $precision.png b.png 24
done
# A surround as wide as the network's whole reach leaves no seam; a narrow one stays close.
expect 0 "$ESRGAN" upscale -q -m "$MODEL" -t 8 --tile-pad 64 in/a.png -o tiles.png
expect 0 $PNG same tiles.png b.png 1
expect 0 "$ESRGAN" upscale -q -m "$MODEL" -t 8 --tile_pad=10 in/a.png -o tiles10.png
expect 0 $PNG same tiles10.png b.png 40
expect 0 "$ESRGAN" upscale -q -m "$GOLDEN/x2plus.pth" in/a.png -o x2.png
is "$($PNG size x2.png)" "46x34 3 8"
expect 0 "$ESRGAN" upscale -q -m "$GOLDEN/x2plus.pth" -t 7 --tile-pad 64 in/a.png -o x2tiles.png
expect 0 $PNG same x2tiles.png x2.png 1

# Half precision that overflows is repeated with FP32, and said.
python3 - "$MODEL" <<'END'
import struct, sys, zipfile
# The first convolution's weights a million times as large: too much for binary16, not for FP32.
source = zipfile.ZipFile(sys.argv[1])
with zipfile.ZipFile("loud.pth", "w") as target:
    for entry in source.infolist():
        data = source.read(entry)
        if entry.filename.endswith("/data/0"):
            numbers = struct.unpack("<%df" % (len(data) // 4), data)
            data = struct.pack("<%df" % len(numbers), *(1e6 * n for n in numbers))
        target.writestr(entry.filename, data)
END
expect 0 "$ESRGAN" upscale -m loud.pth in/a.png -o loud32.png
expect 0 "$ESRGAN" upscale -m loud.pth -p fp16 in/a.png -o loud16.png
said 'warning: in/a.png: the result holds NaN or Inf at this precision: repeated with fp32'
same loud32.png loud16.png
expect 0 "$ESRGAN" upscale -q -m loud.pth -p fp16 -t 9 --json in/a.png -o loud16.png
is "$(json 'j["files"][0]["repeated_fp32"]')" True
is "$(grep -c repeated stderr)" 1 "one warning a picture"

# Other factors than the model's.
for s in "0.5 12x9" "1 23x17" "2 46x34" "3.5 81x60" "4 92x68" "5 115x85"; do
    set -- $s
    expect 0 "$ESRGAN" upscale -q -m "$MODEL" -s "$1" in/a.png -o s.png
    is "$($PNG size s.png)" "$2 3 8" "-s $1"
done

# Folders, odd names, resuming.
mkdir -p tree/below
cp in/a.png "tree/with space.png"
cp in/a.png "tree/Grüße-日本.png"
cp in/a.png tree/-dash.png
cp in/a.png "tree/line
feed.png"
cp in/a.png tree/below/deep.png
echo text >tree/notes.txt
cp in/a.png tree/.hidden.png
expect 0 "$ESRGAN" upscale -m "$MODEL" tree -o flat
is "$(find flat -type f -printf x)" xxxx
for f in flat/*; do same "$f" b.png; done
exists "flat/Grüße-日本_out.png"
exists "flat/line
feed_out.png"
expect 0 "$ESRGAN" upscale -q -m "$MODEL" -r tree -o deep
exists deep/below/deep_out.png
is "$(find deep -type f -printf x)" xxxxx
(cd tree && expect 0 "$ESRGAN" upscale -q -m "$MODEL" -o "$WORK/dash.png" -- -dash.png) && exists dash.png
rm deep/below/deep_out.png
touch -d 2001-01-01 deep/*.png
expect 0 "$ESRGAN" upscale -m "$MODEL" -r --skip-existing tree -o deep
exists deep/below/deep_out.png
is "$(grep -c skipped stderr)" 4
is "$(find deep -newermt 2002-01-01 -type f -printf x)" x

# Pipes.
expect 0 bash -c "'$ESRGAN' upscale -m '$MODEL' - <in/a.png >pipe.png"
same pipe.png b.png
expect 0 bash -c "cat in/a.png | '$ESRGAN' upscale -q -m '$MODEL' - -o file.png"
same file.png b.png
expect 0 bash -c "'$ESRGAN' upscale -q -m '$MODEL' in/a.png -o - --ext webp --lossless >pipe.webp"
is "$(head -c 4 pipe.webp)" RIFF
expect 1 bash -c "set -o pipefail; '$ESRGAN' upscale -q -m '$MODEL' in/a.png -o - -s 40 | head -c 10 >/dev/null"

# JSON.
expect 0 "$ESRGAN" upscale -m "$MODEL" --json -j 2 in/a.png "tree/Grüße-日本.png" -o deep
valid_json
is "$(json 'j["scale"], j["threads"], j["precision"], j["exit_status"], len(j["files"])')" "(4, 2, 'fp32', 0, 2)"
is "$(json 'j["files"][1]["output"], j["files"][1]["status"], j["files"][1]["out_width"]')" \
    "('deep/Grüße-日本_out.png', 'done', 92)"
cp in/a.png "$(printf 'in/\377.png')"
expect 0 "$ESRGAN" upscale -q -m "$MODEL" --json "$(printf 'in/\377.png')" -o deep
valid_json

# A bar on a terminal, none with -q, none in a file.
$PNG make wide.png 160 160 RGB
python3 "$ROOT/tests/support/terminal.py" "$ESRGAN" upscale -m "$MODEL" --backend reference wide.png -o wide4.png >stderr
said 'wide.png \[#*\.*\] +[0-9]+ %'
said 'wide.png -> wide4.png: 160x160 -> 640x640'
python3 "$ROOT/tests/support/terminal.py" "$ESRGAN" upscale -q -m "$MODEL" --backend reference wide.png -o wide4.png >stderr
silent stderr

# The case this project began with, where it is at hand.
shared=${ESRGAN_SHARED:-$ROOT/../shared}/images/mps-repro/in.jpg
if [ -e "$shared" ]; then
    expect 0 "$ESRGAN" upscale "$shared" -o repro.png
    said ': 64x64 -> 256x256'
    is "$($PNG size repro.png)" "256x256 3 8"
else
    echo "no ../shared: mps-repro/in.jpg left out"
fi
finish

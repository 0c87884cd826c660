# esrgan eval: figures, sheets, what it leaves out; and that the model in the box beats bicubic.
. "$(dirname "$0")/support/sh_lib.sh"
cd "$WORK" || exit 1
mkdir hr
$PNG make hr/a.png 70 61 RGB
$PNG make hr/b.png 48 64 RGBA 16

expect 0 "$ESRGAN" eval -m "$MODEL" --hr hr -o sheets
printed '^a.png +-?[0-9.]+ +[0-9.]+'
printed '^average '
only sheets a_sheet.png b_sheet.png
# Four panels of 68x60, three gaps of 4, a strip of 15 for the labels.
is "$($PNG size sheets/a_sheet.png)" "284x75 3 8"
expect 0 "$ESRGAN" eval -m "$MODEL" --hr hr --scale 4 --json
valid_json
is "$(json '[p["name"] for p in j["pictures"]], j["scale"], j["border"], j["pictures"][0]["width"]')" \
    "(['a.png', 'b.png'], 4, 4, 68)"
is "$(json 'all(abs(sum(p[w][k] for p in j["pictures"]) / 2 - j["average"][w][k]) < 1e-9 for w in ("model", "bicubic") for k in ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"))')" True

# A picture that bicubic gets right: smooth, so the figure is high; the network's own is not.
expect 1 "$ESRGAN" eval -m "$GOLDEN/x2plus.pth" --hr hr --scale 4
said 'x2plus.pth: this model enlarges by 2, not by 4'
expect 0 "$ESRGAN" eval -m "$GOLDEN/x2plus.pth" --hr hr/a.png

# Named skips: the others are measured.
$PNG make hr/grey.png 70 60 L
$PNG make hr/small.png 17 60 RGB
echo nothing >hr/c.png
expect 3 "$ESRGAN" eval -m "$MODEL" --hr hr --json
valid_json
said 'hr/grey.png: left out: grey'
said 'hr/small.png: left out: too small'
said '^esrgan: hr/c.png: '
is "$(json '[p.get("left_out") for p in j["pictures"]]')" "[None, None, 'failed', 'grey', 'too small to measure']"
mkdir none
expect 1 "$ESRGAN" eval -m "$MODEL" --hr none
said 'none: no pictures'
expect 1 "$ESRGAN" eval -m "$MODEL" --hr hr/grey.png
said 'nothing could be measured'
expect 1 "$ESRGAN" eval -m "$MODEL" --hr gone
expect 2 "$ESRGAN" eval -m "$MODEL"
expect 2 "$ESRGAN" eval -m "$MODEL" hr
expect 1 "$ESRGAN" eval -m "$MODEL" --hr hr/a.png --lr hr/a.png
said 'small picture has not the size'

# The model in the box on the repo's own picture: at least 1.5 dB better than bicubic.
demo=$ROOT/examples/images/demo-hr.png
if [ -e "$demo" ] && [ -e "$ROOT/examples/models/esrgan-small-x4.pth" ]; then
    expect 0 "$ESRGAN" eval --hr "$demo" --lr "${demo%-hr.png}.png" --json
    gain=$(json 'round(j["average"]["model"]["psnr_y"] - j["average"]["bicubic"]["psnr_y"], 2)')
    echo "the model in the box gains $gain dB over bicubic on the demo picture"
    is "$(python3 -c "print($gain >= 1.5)")" True "gain over bicubic"
    # Given small pictures and own reduction are nearly the same thing.
    expect 0 "$ESRGAN" eval --hr "$demo" --json
    is "$(json "abs(j['average']['model']['psnr_y'] - j['average']['bicubic']['psnr_y'] - $gain) < 0.3")" True
else
    echo "no model or picture under examples: the comparison with bicubic is left out"
fi
finish

# esrgan trace and compare as commands: formats, names, reports, the original case, broken traces.
. "$(dirname "$0")/support/sh_lib.sh"
SHARED=${ESRGAN_SHARED:-$ROOT/../shared}
SMALL=$ROOT/examples/models/esrgan-small-x4.pth
cd "$WORK" || exit 1

# verdict KEY: a member of the JSON on stdout.
member() { python3 -c "import json,sys; print(json.load(open('stdout')).get('$1'))"; }

# A 24x20 picture with colours and edges.
python3 - <<'END'
import struct, zlib
def png(path, rows):
    h, w = len(rows), len(rows[0])
    raw = b"".join(b"\0" + bytes(v for p in row for v in p) for row in rows)
    chunk = lambda t, d: struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0))
                           + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))
def pixel(x, y):
    inside = (x - 9) ** 2 + (y - 11) ** 2 < 40
    return (220 if inside else 40 + 6 * x, 190 - 7 * y if x > y else 60, 30 + 5 * x + 3 * y)
rows = [[pixel(x, y) for x in range(24)] for y in range(20)]
png("in.png", rows)
flat = [p[c] for c in range(3) for row in rows for p in row]          # CHW memory ...
png("mangled.png", [[tuple(flat[(y * 24 + x) * 3:][:3]) for x in range(24)] for y in range(20)])  # ... read as HWC
END

# ---- Traces: every form, every precision and backend
expect 0 "$ESRGAN" trace "$MODEL" in.png -o ref --precision f64
for name in input conv_first body.0.rdb1.conv1.pre body.0.rdb1.conv1.act body.0.rdb3 body.0 conv_body \
    trunk_sum up1.nearest conv_up2.act conv_hr.pre conv_last output output.u8; do
    is "$([ -s "ref/$name.npy" ] && echo yes)" yes "ref/$name.npy"
done
is "$(python3 -c "
import json; m = json.load(open('ref/manifest.json'))
print(m['format'], m['precision'], len(m['model']['sha256']), m['values'][1]['shape'], m['values'][1]['inputs'])")" \
    "esrgan-trace fp64 64 [1, 8, 20, 24] ['input']" "the manifest"
expect 0 "$ESRGAN" trace "$MODEL" in.png -o ref.npz -p fp32 -b reference
expect 0 "$ESRGAN" trace "$MODEL" in.png -o stats --stats-only
is "$(ls stats)" manifest.json "stats only"
expect 0 "$ESRGAN" trace "$MODEL" in.png -o some.npz --layers 'conv_*,body.?'
is "$(python3 -c "
import zipfile; z = zipfile.ZipFile('some.npz'); z.testzip(); print(len(z.namelist()), 'body.0.npy' in z.namelist(), 'input.npy' in z.namelist())")" "12 True False" "--layers"
expect 1 "$ESRGAN" trace "$MODEL" in.png -o none --layers 'nothing*'
said "no value matches"
expect 2 "$ESRGAN" trace "$MODEL" in.png
for how in "-p fp32 -b openblas" "-p fp16 -b reference" "-p bf16 -b reference" "-p fp32 -b native" \
    "-p bf16 -b native" "-p fp16 -b native"; do
    rm -rf test
    if ! "$ESRGAN" trace "$MODEL" in.png -o test $how -j 2 -q 2>stderr; then
        echo "not traced here ($how): $(cat stderr)"
        continue
    fi
    expect 0 "$ESRGAN" compare ref test --model "$MODEL" --json
    is "$(member match) $(member culprit)" "True None" "$how"
    expect 0 "$ESRGAN" compare ref.npz test
done
expect 0 "$ESRGAN" compare ref.npz stats --model "$MODEL"
printed "The traces match"

# ---- Readers: big-endian, Fortran order, half, NHWC, npz from NumPy with deflate, other names
cp -r ref other
python3 - <<'END'
import json, struct
m = json.load(open("other/manifest.json"))
def load(name):
    data = open(f"ref/{name}.npy", "rb").read()
    n = struct.unpack("<H", data[8:10])[0]
    head = eval(data[10:10 + n])
    form = {"<f8": "d", "<f4": "f", "|u1": "B"}[head["descr"]]
    return head["shape"], struct.unpack("<%d%s" % (len(data[10 + n:]) // struct.calcsize(form), form), data[10 + n:])
def save(name, descr, shape, values, fortran=False):
    head = repr({"descr": descr, "fortran_order": fortran, "shape": tuple(shape)}).encode()
    head += b" " * ((-11 - len(head)) % 64) + b"\n"
    form = (">" if descr[0] == ">" else "<") + str(len(values)) + {"f2": "e", "f4": "f", "f8": "d"}[descr[1:]]
    open(f"other/{name}.npy", "wb").write(b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + struct.pack(form, *values))
def transposed(shape, v):  # the same array, first dimension fastest
    n, c, h, w = shape
    return [v[(k * h + y) * w + x] for x in range(w) for y in range(h) for k in range(c)]
def nhwc(shape, v):
    n, c, h, w = shape
    return (n, h, w, c), [v[(k * h + y) * w + x] for y in range(h) for x in range(w) for k in range(c)]
shape, v = load("conv_first"); save("conv_first", ">f4", shape, v)
shape, v = load("body.0"); save("body.0", ">f8", shape, transposed(shape, v), True)
shape, v = load("conv_body"); save("conv_body", "<f4", *nhwc(shape, v))
shape, v = load("input"); save("input", "<f8", shape[1:], v)
names = {"conv_first": "model.0", "body.0.rdb1.conv1.pre": "RRDB_trunk.0.RDB1.conv1", "conv_body": "trunk_conv",
         "body.0.rdb2.conv2.act": "module.body.0.rdb2.conv2.act", "conv_hr.pre": "HRconv.weight", "conv_up1.pre": "upconv1",
         "body.0": "their_block"}
for value in m["values"]:
    value.pop("shape"), value.pop("stats")
    value["name"] = names.get(value["name"], value["name"])
json.dump(m, open("other/manifest.json", "w"))
END
echo "their_block = body.0   # a comment" >map.txt
expect 0 "$ESRGAN" compare ref other --model "$MODEL" --map map.txt --json
is "$(python3 -c "
import json; r = json.load(open('stdout'))
print(sum('local_max' in l for l in r['layers']), len(r['layers']), [n for n in r['notes'] if 'unknown' in n])")" \
    "$(python3 -c "import json; n = len(json.load(open('ref/manifest.json'))['values']); print(n, n, [])")" "all names found"
expect 0 "$ESRGAN" compare ref other --model "$MODEL"
printed "1 values of the test have unknown names, the first 'their_block'"
python3 -c "
import zipfile, os
z = zipfile.ZipFile('packed.npz', 'w', zipfile.ZIP_DEFLATED)
for f in sorted(os.listdir('ref')): z.write('ref/' + f, f)"
expect 0 "$ESRGAN" compare ref packed.npz --model "$MODEL"

# The names of an ONNX export, as PyTorch writes them for BasicSR's module.
mkdir onnx
python3 - <<'END'
import json
m = json.load(open("ref/manifest.json"))
def onnx(name):
    part = name.split(".")
    if part[0] == "body" and len(part) > 3:
        k = int(part[3][4])
        if part[-1] == "act":
            return f"/body/body.{part[1]}/{part[2]}/lrelu{'_%d' % (k - 1) if k > 1 else ''}/LeakyRelu_output_0"
        return f"/body/body.{part[1]}/{part[2]}/conv{k}/Conv_output_0"
    if part[0] == "body":
        return "/body/body." + "/".join(part[1:]) + "/Add_output_0"
    plain = {"trunk_sum": "/Add_output_0", "up1.nearest": "/Resize_output_0", "up2.nearest": "/Resize_1_output_0",
             "conv_up1.act": "/lrelu/LeakyRelu_output_0", "conv_up2.act": "/lrelu_1/LeakyRelu_output_0",
             "conv_hr.act": "/lrelu_2/LeakyRelu_output_0", "input": "input", "output": None, "output.u8": None}
    return plain.get(name, f"/{part[0]}/Conv_output_0")
values = [(onnx(v["name"]), v["name"]) for v in m["values"]]
json.dump({"format": "esrgan-trace", "values": [{"name": a, "file": "../ref/" + b + ".npy"} for a, b in values if a]},
          open("onnx/manifest.json", "w"))
END
expect 0 "$ESRGAN" compare ref onnx --model "$MODEL" --json
is "$(python3 -c "
import json; r = json.load(open('stdout'))
print(len(r['layers']) - sum('local_max' in l for l in r['layers']), [n for n in r['notes'] if 'unknown' in n])")" "2 []" "ONNX names"

# ---- Tensors and pictures
expect 0 "$ESRGAN" compare ref/conv_last.npy ref/conv_last.npy
expect 1 "$ESRGAN" compare ref/conv_last.npy ref/conv_first.npy --json
is "$(member match)" False "shapes"
expect 0 "$ESRGAN" upscale -m "$MODEL" in.png -o ref.png -q
expect 0 "$ESRGAN" compare ref.png ref.png --json
is "$(member match) $(member psnr)" "True None" "equal pictures (PSNR is infinite)"
expect 0 "$ESRGAN" compare ref.png ref.png
printed "PSNR inf dB, SSIM 1.00000; off by 1/255 or more: 0 %"

# ---- The original case: CHW memory of the input read with HWC strides, two pictures and no trace
expect 0 "$ESRGAN" upscale -m "$MODEL" mangled.png -o test.png -q
expect 1 "$ESRGAN" compare ref.png test.png --model "$MODEL" --input in.png --json --html pictures.html
is "$(member cause)" input-chw-as-hwc "the original case, golden model"
expect 0 "$ESRGAN" trace "$MODEL" mangled.png -o mangled -q
expect 1 "$ESRGAN" compare ref mangled --model "$MODEL" --json --html traces.html
is "$(member culprit) $(member cause)" "input chw-as-hwc" "the original case, traced"
if [ -f "$SMALL" ]; then
    expect 0 "$ESRGAN" upscale -m "$SMALL" in.png -o small-ref.png -q
    expect 0 "$ESRGAN" upscale -m "$SMALL" mangled.png -o small-test.png -q
    expect 1 "$ESRGAN" compare small-ref.png small-test.png --model "$SMALL" --input in.png --json
    is "$(member cause)" input-chw-as-hwc "the original case, the model of the repo"
fi
if [ -d "$SHARED/images/mps-repro" ]; then
    case=$SHARED/images/mps-repro
    expect 1 "$ESRGAN" compare "$case/out_cpu_half_False.jpg" "$case/out_mps_half_False.jpg" --input "$case/in.jpg" --json
    is "$(member cause)" input-chw-as-hwc "the original files, no model"
    expect 1 "$ESRGAN" compare "$case/out_cpu_half_False.jpg" "$case/out_mps_half_False.jpg" --model "$MODEL" --input "$case/in.jpg" --json
    is "$(member cause)" input-chw-as-hwc "the original files, another model"
else
    echo "skipped: the original files ($SHARED/images/mps-repro is not there)"
fi

# ---- --extract
expect 1 "$ESRGAN" compare ref mangled --model "$MODEL" --extract body.0.rdb1.conv2 -o case -q
is "$(ls case | tr '\n' ' ')" "b.npy repro.py w.npy x.npy y_float64.npy y_ref.npy y_test.npy " "extracted"
is "$(python3 -c "compile(open('case/repro.py').read(), 'repro.py', 'exec'); print(len(open('case/repro.py').readlines()) <= 10)")" True "repro.py"
expect 2 "$ESRGAN" compare ref mangled --model "$MODEL" --extract no.such.layer
said "no layer is named no.such.layer"

# ---- The page, in a browser
if command -v chromium >/dev/null; then
    for page in pictures traces; do
        timeout 60 chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
            --disable-component-update --disable-sync --user-data-dir="$WORK/chromium" --virtual-time-budget=3000 \
            --dump-dom "file://$WORK/$page.html" >"$page.dom" 2>/dev/null
        is "$(grep -c 'id="verdict" class="mismatch"' $page.dom)" 1 "$page.html: the verdict"
        is "$(grep -o 'CHW memory was read with HWC strides' $page.dom | head -1)" "CHW memory was read with HWC strides" "$page.html: the cause"
        is "$(grep -o '<img alt="[a-z, ]*" width="[0-9]*" src="data:image/png;base64,' $page.dom | wc -l)" \
            "$([ $page = traces ] && echo 6 || echo 3)" "$page.html: pictures"
        # Every picture must be one that the browser can draw.
        sed 's/<\/body>/<script>document.title = [...document.images].every(i => i.complete \&\& i.naturalWidth > 0) ? "drawn" : "broken"<\/script><\/body>/' $page.html >with-script.html
        is "$(timeout 60 chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
            --disable-component-update --disable-sync --user-data-dir="$WORK/chromium" --virtual-time-budget=3000 \
            --dump-dom "file://$WORK/with-script.html" 2>/dev/null | grep -o '<title>[a-z]*</title>')" "<title>drawn</title>" "$page.html: pictures drawn"
    done
    is "$(grep -c 'svg id="chart"' traces.dom)" 1 "the chart"
    is "$(grep -oE '<circle [^>]*class="(ok|away|bad)"' traces.dom | wc -l)" \
        "$(python3 -c "import json; print(2 * len(json.load(open('ref/manifest.json'))['values']))")" "a mark for each value, twice"
    is "$(grep -cE '(src|href)="?(https?:|//)' traces.dom)" 0 "nothing is loaded"
else
    echo "skipped: the page in a browser (chromium is not installed)"
fi

# ---- Broken traces: which file, what was expected
broken() { rm -rf broken; cp -r ref broken; }
mkdir empty
expect 2 "$ESRGAN" compare ref empty; said "empty/manifest.json: missing; expected the manifest"
broken; rm broken/conv_first.npy
expect 2 "$ESRGAN" compare ref broken; said "broken/conv_first.npy"
broken; head -c 1000 ref/conv_first.npy >broken/conv_first.npy
expect 2 "$ESRGAN" compare ref broken; said "broken/conv_first.npy: truncated .npy"
broken; cp ref/conv_last.npy broken/conv_first.npy
expect 2 "$ESRGAN" compare ref broken; said "broken/conv_first.npy: holds 3 x 80 x 96, but manifest.json says 8 x 20 x 24"
broken; LC_ALL=C sed '1s/(1, 8,/(0, 8,/' ref/conv_first.npy >broken/conv_first.npy
expect 2 "$ESRGAN" compare ref broken; said "broken/conv_first.npy: dimension 0 is 0, expected 1 to 2147483647"
broken; echo "not an array" >broken/conv_first.npy
expect 2 "$ESRGAN" compare ref broken; said "broken/conv_first.npy: not a .npy file"
broken; echo '{"format": "esrgan-trace", "values": [{"name": "a"}, ]}' >broken/manifest.json
expect 2 "$ESRGAN" compare ref broken; said "broken/manifest.json: not JSON: line 1"
broken; echo '{"format": "something"}' >broken/manifest.json
expect 2 "$ESRGAN" compare ref broken; said 'expected "format": "esrgan-trace"'
broken; echo '{"format": "esrgan-trace", "values": []}' >broken/manifest.json
expect 2 "$ESRGAN" compare ref broken; said "lists no values"
broken; sed -i 's/"name": "/"name": "layer_/' broken/manifest.json
expect 2 "$ESRGAN" compare ref broken --model "$MODEL"; said "none of its .* names is known \(the first is 'layer_input'\)"
# Values that no such network makes: of other channels; and one of another size than those around it, where the
# reference is of that size.
broken; echo '{"format": "esrgan-trace", "values": [{"name": "conv_hr.pre", "file": "../ref/conv_last.npy"}]}' >broken/manifest.json
expect 2 "$ESRGAN" compare ref broken --model "$MODEL" --extract conv_hr.act -o extracted; said "conv_hr.pre: has 3 channels, the model's has 8"
python3 -c "open('dot.ppm', 'wb').write(b'P6 1 1 255 \1\2\3')"
expect 0 "$ESRGAN" trace -q "$MODEL" dot.ppm -o dot
broken; sed -i 's/"shape": [^]]*], //; s/"stats": {[^}]*}/"stats": {}/' broken/manifest.json
cp dot/body.1.rdb2.conv5.npy broken/
expect 1 "$ESRGAN" compare dot broken --model "$MODEL" --json
is "$(member match)" False "one value of another size"
head -c 5000 ref.npz >cut.npz
expect 2 "$ESRGAN" compare ref cut.npz; said "cut.npz: truncated or damaged .npz"
cp ref.npz damaged.npz; printf 'XXXX' | dd of=damaged.npz bs=1 seek=3000 conv=notrunc 2>/dev/null
expect 2 "$ESRGAN" compare ref damaged.npz --model "$MODEL"; said "damaged.npz: damaged .npz: entry input.npy does not match its checksum"
expect 2 "$ESRGAN" compare ref nowhere.png; said "nowhere.png"
expect 2 "$ESRGAN" compare ref; said "expected a reference and a test"
echo "one two three" >bad.map
expect 2 "$ESRGAN" compare ref ref --map bad.map; said "bad.map: line 1: expected two names"
# Another network.
expect 0 "$ESRGAN" trace "$GOLDEN/bsrgan-2x.pth" in.png -o another -q
expect 1 "$ESRGAN" compare ref another --model "$MODEL" --json
is "$(member culprit)" "$(python3 -c "
import json; a, b = (json.load(open(f + '/manifest.json'))['values'] for f in ('ref', 'another'))
other = {v['name']: v['shape'] for v in b}
print(next(v['name'] for v in a if other.get(v['name'], v['shape']) != v['shape']))")" "another network: the first other shape"
# 8 bits made wrongly: cut off, or wrapped around.
python3 - <<'END'
import json, math, os, shutil, struct
def read(path, form):
    data = open(path, "rb").read(); n = 10 + struct.unpack("<H", data[8:10])[0]
    return data[:n], struct.unpack("<%d%s" % ((len(data) - n) // struct.calcsize(form), form), data[n:])
head, raw = read("ref/conv_last.npy", "d")
bytes_head, _ = read("ref/output.u8.npy", "B")
for name, make in (("cut-off", lambda v: int(255 * min(max(v, 0), 1))), ("wrapped", lambda v: math.floor(255 * v + 0.5) % 256)):
    shutil.copytree("ref", name)
    open(name + "/output.u8.npy", "wb").write(bytes_head + bytes(make(v) for v in raw))
END
expect 1 "$ESRGAN" compare ref cut-off --model "$MODEL" --json
is "$(member culprit) $(member cause)" "output.u8 truncated" "cut off"
expect 1 "$ESRGAN" compare ref wrapped --model "$MODEL" --json
is "$(member culprit) $(member cause)" "output.u8 wrapped" "wrapped around"
# NaN everywhere is no reason to fail: the first layer with NaN is the one that is named.
broken
python3 - <<'END'
import struct
for name in ("conv_first", "body.0.rdb1.conv1.pre", "conv_last"):
    data = open(f"ref/{name}.npy", "rb").read()
    n = 10 + struct.unpack("<H", data[8:10])[0]
    open(f"broken/{name}.npy", "wb").write(data[:n] + struct.pack("<d", float("nan")) * ((len(data) - n) // 8))
END
expect 1 "$ESRGAN" compare ref broken --model "$MODEL" --json
is "$(member culprit) $(member cause)" "conv_first nonfinite" "NaN everywhere"
expect 1 "$ESRGAN" compare ref broken

finish

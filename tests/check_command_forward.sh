# esrgan forward, info, eval: figures right, reports readable, errors told.
. "$(dirname "$0")/support/sh_lib.sh"
cd "$WORK" || exit 1

cat >npy.py <<'END'
import struct, sys
def read(path):
    data = open(path, "rb").read()
    length = struct.unpack("<H", data[8:10])[0]
    head = eval(data[10:10 + length])
    count = 1
    for n in head["shape"]: count *= n
    form = {"f2": "e", "f4": "f", "f8": "d", "u1": "B"}[head["descr"][1:]]
    order = ">" if head["descr"][0] == ">" else "<"
    return head, list(struct.unpack(order + "%d%s" % (count, form), data[10 + length:10 + length + count * struct.calcsize(form)]))
def write(path, descr, shape, values, fortran=False):
    form = {"f2": "e", "f4": "f", "f8": "d", "u1": "B"}[descr[1:]]
    head = repr({"descr": descr, "fortran_order": fortran, "shape": tuple(shape)}).encode()
    head += b" " * ((-11 - len(head)) % 64) + b"\n"
    order = ">" if descr[0] == ">" else "<"
    open(path, "wb").write(b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head
                           + struct.pack(order + "%d%s" % (len(values), form), *values))
END
python3 - <<'END'
from npy import write
import struct
shape = (1, 3, 5, 7)
values = [((i * 37) % 101) / 128 for i in range(105)]
write("f4.npy", "<f4", shape, values)
write("f4big.npy", ">f4", shape, values)
write("f8.npy", "<f8", shape, values)
write("f2.npy", "<f2", shape, values)
write("three.npy", "<f4", shape[1:], values)
at = lambda c, y, x: values[(c * 5 + y) * 7 + x]
write("fortran.npy", ">f8", shape, [at(c, y, x) for x in range(7) for y in range(5) for c in range(3)], True)
write("u1.npy", "|u1", shape, [(i * 7) % 2 for i in range(105)])
write("u1asf4.npy", "<f4", shape, [(i * 7) % 2 for i in range(105)])
write("two.npy", "<f4", (2, 3, 5, 7), values + values)
write("odd.npy", "<f4", (1, 3, 5, 7), values)
write("nan.npy", "<f4", shape, values[:50] + [float("nan")] + values[51:])
write("channels.npy", "<f4", (1, 4, 5, 7), [0.0] * 140)
write("flat.npy", "<f4", (105,), values)
write("zero.npy", "<f4", (1, 3, 0, 7), [])
data = open("f4.npy", "rb").read()
open("cut.npy", "wb").write(data[:-5])
open("cuthead.npy", "wb").write(data[:40])
open("type.npy", "wb").write(data.replace(b"<f4", b"<c8"))
open("shape.npy", "wb").write(data.replace(b"(1, 3, 5, 7)", b"(-1,-3,5,7)"))
open("huge.npy", "wb").write(data.replace(b"(1, 3, 5, 7)", b"(1,3,9**9,7)"))
open("noise.npy", "wb").write(bytes(200))
END

# Every way of writing the same tensor gives the same result.
for f in f4 f4big f8 f2 three fortran; do
    expect 0 "$ESRGAN" forward -m "$MODEL" $f.npy -o $f.out.npy
    silent stdout
    same $f.out.npy f4.out.npy
done
expect 0 "$ESRGAN" forward -q -m "$MODEL" u1.npy -o u1.out.npy
expect 0 "$ESRGAN" forward -q -m "$MODEL" u1asf4.npy -o u1asf4.out.npy
same u1.out.npy u1asf4.out.npy
expect 0 "$ESRGAN" forward -q -m "$MODEL" two.npy -o two.out.npy
python3 -c "
from npy import read
(h, two), (g, one) = read('two.out.npy'), read('f4.out.npy')
assert h['shape'] == (2, 3, 20, 28) and g['shape'] == (1, 3, 20, 28), h
assert two == one + one" || fail "a batch of two is not twice one"
expect 0 bash -c "'$ESRGAN' forward -q -m '$MODEL' - -o - <f4.npy >pipe.npy"
same pipe.npy f4.out.npy
expect 0 "$ESRGAN" forward -m "$MODEL" f4.npy -j 3 --backend reference --repeat 3 --keep-weights --json -o ref.npy
valid_json
is "$(json 'len(j["run_s"]), j["threads"], j["backend"], j["precision"], j["shape"]')" \
    "(3, 3, 'reference', 'fp32', [1, 3, 20, 28])"
is "$(json 'j["open_s"] > 0 and min(j["run_s"]) > 0 and 1e6 < j["peak_rss_bytes"] < 1e9 and len(j["tier"]) > 0')" True
expect 0 "$ESRGAN" forward -m "$MODEL" f4.npy --backend reference --precision fp64 -o wide.npy
python3 -c "
from npy import read
a, b, c = (read(f)[1] for f in ('ref.npy', 'f4.out.npy', 'wide.npy'))
top = max(map(abs, c))
assert max(abs(x - y) for x, y in zip(a, c)) < 1e-5 * top and max(abs(x - y) for x, y in zip(b, c)) < 1e-5 * top" ||
    fail "backends disagree"
expect 0 "$ESRGAN" forward -m "$MODEL" nan.npy -o nan.out.npy
said 'NaN'
expect 1 "$ESRGAN" forward -m "$GOLDEN/x2plus.pth" odd.npy -o bad.npy
for bad in "channels:4 channels; .* takes 3" "flat:1 dimensions" "zero:dimension 2 is 0" "cut:truncated .npy: .* 420 bytes of data, 415" \
    "cuthead:ends inside" "type:element type .* is not supported" "shape:shape makes no sense" "huge:(shape makes no|truncated)" \
    "noise:not a .npy" "none:No such file"; do
    expect 1 "$ESRGAN" forward -m "$MODEL" "${bad%%:*}.npy" -o bad.npy
    said "^esrgan: ${bad%%:*}.npy: .*${bad#*:}"
done
expect 2 "$ESRGAN" forward -m "$MODEL" f4.npy
expect 2 "$ESRGAN" forward -m "$MODEL" f4.npy f8.npy -o bad.npy
[ ! -e bad.npy ] || fail "bad.npy was written"

# info
expect 0 "$ESRGAN" info "$MODEL"
printed '^scale +x4, 3 to 3 channels'
printed "^sha-256 +$(sha256sum <"$MODEL" | cut -d' ' -f1)$"
silent stderr
expect 0 "$ESRGAN" info --json --verify --size 100x50 "$GOLDEN/x2plus.pth"
valid_json
is "$(json 'j["scale"], j["unshuffle"], j["memory"]["width"], j["memory"]["height"], j["verified"], j["sha256"]')" \
    "(2, 2, 100, 50, True, '$(sha256sum <"$GOLDEN/x2plus.pth" | cut -d' ' -f1)')"
is "$(json 'j["file_bytes"]')" "$(stat -c %s "$GOLDEN/x2plus.pth")"
expect 0 "$ESRGAN" info --json --wrapper params "$GOLDEN/params-asked-for.pth"
is "$(json 'j["wrapper"]')" params
expect 0 "$ESRGAN" info --json --up-factor 3 "$GOLDEN/esrgan-3x.pth"
is "$(json 'j["scale"]')" 3
for m in "$GOLDEN"/*.pth; do
    [ "$(basename "$m")" = esrgan-3x.pth ] || expect 0 "$ESRGAN" info --verify "$m"
done
expect 0 "$ESRGAN" info --cpu
printed '^tier +built +usable'
expect 0 "$ESRGAN" info --cpu --json
valid_json
expect 2 "$ESRGAN" info --cpu "$MODEL"
expect 2 "$ESRGAN" info "$MODEL" "$MODEL"
expect 2 "$ESRGAN" info --size 5x "$MODEL"
python3 - "$MODEL" <<'END'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[len(data) // 2] ^= 1
open("flipped.pth", "wb").write(data)
END
expect 1 "$ESRGAN" info --verify flipped.pth
said '^esrgan: flipped.pth: '
finish

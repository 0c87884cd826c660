# Picture files: depths, channels, alpha, colour profiles, EXIF's orientation, every format.
. "$(dirname "$0")/support/sh_lib.sh"
cd "$WORK" || exit 1
up() { expect 0 "$ESRGAN" upscale -q -m "$MODEL" "$@"; }

# Every kind of PNG comes out as it went in.
for kind in "L 8" "L 16" "LA 8" "LA 16" "RGB 8" "RGB 16" "RGBA 8" "RGBA 16"; do
    set -- $kind
    $PNG make in.png 13 9 "$1" "$2"
    up in.png -o out.png
    is "$($PNG size out.png)" "52x36 ${#1} $2" "$kind"
done
up in.png -o out.png --bits 8
is "$($PNG size out.png)" "52x36 4 8"
$PNG make in.png 13 9 RGB
up in.png -o deep.png --bits 16
is "$($PNG size deep.png)" "52x36 3 16"
up in.png -o out.png

# One rounding: 8 bits are the 16 bits rounded.
python3 - "$ROOT/tests/support" <<'END' || fail "8 bits are not the 16 bits rounded"
import sys
sys.path.insert(0, sys.argv[1])
import png
deep, flat = png.read("deep.png")[4], png.read("out.png")[4]
sys.exit(any(abs(d / 257 - f) > 0.502 for d, f in zip(deep, flat)))
END

# Grey stays grey, white stays white.
python3 - "$ROOT/tests/support" <<'END'
import sys
sys.path.insert(0, sys.argv[1])
import png
png.write("grey.png", 9, 7, 3, 8, [v for i in range(63) for v in [i * 4] * 3])
png.write("one.png", 1, 1, 3, 8, [200, 100, 50])
png.write("column.png", 1, 37, 3, 8, [(i * 7) % 256 for i in range(111)])
png.write("row.png", 41, 1, 4, 16, [(i * 997) % 65536 for i in range(164)])
png.write("opaque.png", 9, 7, 4, 8, [v for i in range(63) for v in (i, 255 - i, 3 * i, 255)])
png.write("half.png", 9, 7, 4, 8, [v for i in range(63) for v in (i, 255 - i, 3 * i, 128)])
END
for size in "one.png 4x4 3 8" "column.png 4x148 3 8" "row.png 164x4 4 16"; do
    set -- $size
    up "$1" -o out.png
    is "$($PNG size out.png)" "$2 $3 $4" "$1"
    expect 0 "$ESRGAN" upscale -q -m "$GOLDEN/x2plus.pth" "$1" -o out.png
    up "$1" -o out.png -t 3
done
for f in opaque:255 half:128; do
    up ${f%:*}.png -o out.png
    is "$(python3 -c "import sys; sys.path.insert(0, '$ROOT/tests/support'); import png
print(set(png.read('out.png')[4][3::4]))")" "{${f#*:}}" "constant alpha of $f"
done

# Formats that are written: what is lossless agrees with PNG to the bit, the others nearly.
X1=$GOLDEN/esrgan-1x.pth
for e in png jpg webp tif; do
    up half.png -o exact.$e --lossless
    up -m "$X1" exact.$e -o half_$e.png
    up opaque.png -o near.$e --quality 100
    up -m "$X1" near.$e -o near_$e.png
done
for e in tif webp; do
    expect 0 $PNG same half_$e.png half_png.png
    is "$($PNG size half_$e.png)" "36x28 4 8" "$e"
done
is "$($PNG size near_jpg.png)" "36x28 3 8"
python3 - "$ROOT/tests/support" <<'END' || fail "JPEG or WebP is far from PNG, or is something else"
import sys
sys.path.insert(0, sys.argv[1])
import png
starts = {"png": b"\x89PNG", "jpg": b"\xff\xd8\xff", "webp": b"RIFF", "tif": b"II*\0"}
wrong = any(not open("near." + e, "rb").read().startswith(s) for e, s in starts.items())
exact = png.read("near_png.png")[4]
colours = [v for i, v in enumerate(exact) if i % 4 < 3]
for e in ("jpg", "webp"):
    other = png.read("near_%s.png" % e)[4]
    wrong |= len(other) != len(colours) or sum(abs(a - b) for a, b in zip(other, colours)) > 8 * len(colours)
sys.exit(wrong)
END
expect 0 "$ESRGAN" upscale -m "$MODEL" half.png -o half.jpg
said 'half.jpg: JPEG knows no transparency'
up opaque.png -o quiet.jpg

# Formats that are read only.
printf 'P6\n3 2\n255\n\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\22' >in.ppm
printf 'P5\n3 2\n255\n\1\2\3\4\5\6' >in.pgm
python3 - <<'END'
import struct
pixels = bytes(range(1, 19))
rows = pixels[9:18] + b"\0\0\0" + pixels[:9] + b"\0\0\0"
open("in.bmp", "wb").write(b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54)
                           + struct.pack("<IiiHHIIiiII", 40, 3, 2, 1, 24, 0, len(rows), 2835, 2835, 0, 0) + rows)
open("in.tga", "wb").write(struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 3, 2, 24, 0x20) + pixels)
END
for f in in.ppm in.bmp in.tga; do
    expect 0 "$ESRGAN" upscale -m "$MODEL" $f
    exists in_out.png
    is "$($PNG size in_out.png)" "12x8 3 8" "$f"
    rm in_out.png
done
up in.pgm -o out.png
is "$($PNG size out.png)" "12x8 1 8"

# EXIF's orientation is applied, in PNG and JPEG; the tag says upright afterwards.
$PNG make in.png 16 8 RGB
up in.png -o upright.png
for o in 1 2 3 4 5 6 7 8; do
    printf 'MM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\x0'$o'\0\0\0\0\0\0' >exif.bin
    $PNG turn in.png $o stored.png
    $PNG with stored.png eXIf exif.bin turned.png
    up turned.png -o out.png
    expect 0 $PNG same out.png upright.png 2
    $PNG chunk out.png eXIf kept.bin >/dev/null
    is "$(od -An -tu1 -j18 -N2 kept.bin | tr -d ' ')" "01" "orientation $o afterwards"
    # The JPEG is 64x32: one of the network's, stored turned.
    up stored.png -o plain.jpg --quality 100
    $PNG exif plain.jpg $o turned.jpg
    up -m "$X1" turned.jpg -o out.png
    is "$($PNG size out.png)" "64x32 3 8" "JPEG of orientation $o"
done

# A colour profile stays, from each format to each.
python3 - <<'END'
import struct, zlib
# What libpng takes for an RGB profile: a header and an empty tag table; and some bytes.
noise = bytes(i * i * 7 % 251 for i in range(400))
head = struct.pack(">I4sIIII", 532, b"none", 0x02400000, 0x6d6e7472, 0x52474220, 0x58595a20) + bytes(12)
head += b"acsp" + bytes(24) + struct.pack(">IIII", 0, 0xf6d6, 0x10000, 0xd32d)
profile = head + bytes(128 - len(head)) + struct.pack(">I", 0) + noise
open("profile.bin", "wb").write(profile)
open("iccp.bin", "wb").write(b"p\0\0" + zlib.compress(profile))
END
$PNG with in.png iCCP iccp.bin coloured.png
for a in png jpg webp tif; do
    up coloured.png -o icc.$a --quality 100
    up -m "$X1" icc.$a -o icc_$a.png
    $PNG chunk icc_$a.png iCCP kept.bin >/dev/null
    python3 -c "
import zlib
kept = open('kept.bin', 'rb').read()
raise SystemExit(zlib.decompress(kept[kept.index(0) + 2:]) != open('profile.bin', 'rb').read())" ||
        fail "profile lost through $a"
    checks=$((checks + 1))
done
finish

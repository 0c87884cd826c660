"""PNG with the standard library alone, for the tests of the command.

    png.py make FILE WIDTH HEIGHT MODE [BITS]    a test pattern; MODE is L, LA, RGB or RGBA
    png.py size FILE                             prints "WIDTHxHEIGHT CHANNELS BITS"
    png.py same FILE FILE [TOLERANCE]            status 0 where all samples agree
    png.py flat FILE                             status 0 where red, green and blue agree
    png.py turn FILE ORIENTATION OUT             stores the picture as EXIF orientation N would
    png.py exif IN.jpg ORIENTATION OUT.jpg       puts that orientation into a JPEG
    png.py chunk FILE NAME [OUT]                 prints the length of a chunk, writes its content
    png.py with IN NAME FILE OUT                 puts a chunk with the content of FILE behind IHDR
    png.py sha FILE                              SHA-256 of the samples
"""

import hashlib
import struct
import sys
import zlib

CHANNELS = {0: 1, 4: 2, 2: 3, 6: 4}
COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def write(path, width, height, channels, bits, samples):
    """samples: one flat list."""
    row = width * channels
    raw = bytearray()
    for y in range(height):
        raw.append(0)
        line = samples[y * row:(y + 1) * row]
        raw += bytes(line) if bits == 8 else struct.pack(">%dH" % row, *line)
    head = struct.pack(">IIBBBBB", width, height, bits, COLOUR[channels], 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(raw)))
                   + chunk(b"IEND", b""))


def chunks(path):
    data = open(path, "rb").read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path + " is no PNG"
    at = 8
    while at < len(data):
        size, = struct.unpack(">I", data[at:at + 4])
        yield data[at + 4:at + 8], data[at + 8:at + 8 + size]
        at += 12 + size


def paeth(a, b, c):
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    return a if pa <= pb and pa <= pc else b if pb <= pc else c


def read(path):
    packed = b""
    for name, content in chunks(path):
        if name == b"IHDR":
            width, height, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", content)
            assert interlace == 0
        elif name == b"IDAT":
            packed += content
    channels = CHANNELS[colour]
    step, length = channels * bits // 8, width * channels * bits // 8
    raw, before, samples = zlib.decompress(packed), bytes(length), []
    for y in range(height):
        kind = raw[y * (length + 1)]
        line = bytearray(raw[y * (length + 1) + 1:(y + 1) * (length + 1)])
        for x in range(length):
            left = line[x - step] if x >= step else 0
            corner = before[x - step] if x >= step else 0
            if kind == 1:
                line[x] = (line[x] + left) & 255
            elif kind == 2:
                line[x] = (line[x] + before[x]) & 255
            elif kind == 3:
                line[x] = (line[x] + (left + before[x]) // 2) & 255
            elif kind == 4:
                line[x] = (line[x] + paeth(left, before[x], corner)) & 255
        before = bytes(line)
        samples += list(line) if bits == 8 else struct.unpack(">%dH" % (length // 2), bytes(line))
    return width, height, channels, bits, samples


def make(path, width, height, mode, bits=8):
    width, height, bits, channels = int(width), int(height), int(bits), len(mode)
    top = (1 << bits) - 1
    samples = []
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                share = (x * (c + 2) + y * (5 - c)) % 61 / 60 * (0.4 if (x // 5 + y // 7) % 2 else 1)
                samples.append(int(share * top + 0.5))
    write(path, width, height, channels, bits, samples)


def turn(path, orientation, out):
    """The stored form of a picture that is to be shown as it is in `path`."""
    width, height, channels, bits, samples = read(path)
    rows = [[samples[(y * width + x) * channels:(y * width + x + 1) * channels] for x in range(width)]
            for y in range(height)]
    o = int(orientation)
    if o in (5, 6, 7, 8):
        rows = [list(column) for column in zip(*rows)]
    if o in (2, 3, 7, 8):
        rows = [row[::-1] for row in rows]
    if o in (3, 4, 6, 7):
        rows = rows[::-1]
    write(out, len(rows[0]), len(rows), channels, bits, [s for row in rows for p in row for s in p])


def exif(path, orientation, out):
    data = open(path, "rb").read()
    assert data[:2] == b"\xff\xd8", path + " is no JPEG"
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, int(orientation), 0, 0)
    body = b"Exif\0\0" + tiff
    with open(out, "wb") as file:
        file.write(data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:])


def same(one, two, tolerance="0"):
    a, b = read(one), read(two)
    if a[:4] != b[:4]:
        sys.exit("%s is %s, %s is %s" % (one, a[:4], two, b[:4]))
    worst = max(abs(x - y) for x, y in zip(a[4], b[4]))
    if worst > int(tolerance):
        sys.exit("%s and %s differ by %d" % (one, two, worst))


def flat(path):
    _, _, channels, _, samples = read(path)
    if channels < 3 or any(samples[i] != samples[i + 1] or samples[i] != samples[i + 2]
                           for i in range(0, len(samples), channels)):
        sys.exit(path + " is not grey")


def show_chunk(path, name, out=None):
    for found, content in chunks(path):
        if found.decode() == name:
            print(len(content))
            if out:
                open(out, "wb").write(content)
            return
    print("none")


def with_chunk(path, name, content, out):
    with open(out, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for found, body in chunks(path):
            file.write(chunk(found, body))
            if found == b"IHDR":
                file.write(chunk(name.encode(), open(content, "rb").read()))


def main():
    what, arguments = sys.argv[1], sys.argv[2:]
    if what == "size":
        width, height, channels, bits, _ = read(*arguments)
        print("%dx%d %d %d" % (width, height, channels, bits))
    elif what == "sha":
        print(hashlib.sha256(repr(read(*arguments)).encode()).hexdigest())
    else:
        {"make": make, "same": same, "flat": flat, "turn": turn, "exif": exif, "chunk": show_chunk,
         "with": with_chunk}[what](*arguments)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Render the demonstration picture: toys on a table in front of a tiled wall.

Writes demo-hr.png (512x384) and demo.png, its bicubic reduction to a quarter.
Everything in the picture is computed here by a small ray tracer; there are no
fonts, photographs or random numbers from outside, so the result is always the
same. Needs numpy and PIL, takes less than a minute.

    make_demo.py [FOLDER]
"""

import os
import sys

import numpy as np
from PIL import Image, ImageDraw

WIDE, HIGH, SIDE = 512, 384, 7  # SIDE x SIDE rays go through each pixel
EYE, AIM, LENS = np.array([0.35, 1.75, -5.2]), np.array([0.06, 0.74, 0.0]), 2.75
FAR = 1e9
GOLDEN = 0.6180339887498949

# Letters as strokes on a grid 4 wide and 6 high, y down.
LETTERS = {
    "A": [[(0, 6), (2, 0), (4, 6)], [(.8, 4), (3.2, 4)]],
    "B": [[(0, 0), (0, 6), (3, 6), (4, 5), (4, 4), (3, 3), (0, 3)],
          [(0, 0), (2.8, 0), (3.7, .8), (3.7, 2.2), (3, 3)]],
    "E": [[(4, 0), (0, 0), (0, 6), (4, 6)], [(0, 3), (3, 3)]],
    "G": [[(4, 1), (3, 0), (1, 0), (0, 1.2), (0, 4.8), (1, 6), (3, 6), (4, 5), (4, 3.2), (2.4, 3.2)]],
    "I": [[(2, 0), (2, 6)], [(1, 0), (3, 0)], [(1, 6), (3, 6)]],
    "L": [[(0, 0), (0, 6), (4, 6)]],
    "N": [[(0, 6), (0, 0), (4, 6), (4, 0)]],
    "R": [[(0, 6), (0, 0), (3, 0), (4, 1), (4, 2.3), (3, 3.2), (0, 3.2)], [(2, 3.2), (4, 6)]],
    "S": [[(4, 1), (3, 0), (1, 0), (0, 1), (0, 2), (1, 3), (3, 3), (4, 4), (4, 5), (3, 6), (1, 6), (0, 5)]],
}


def write(draw, text, left, top, height, width, ink):
    """Draw text from strokes with round ends; width is that of the pen."""
    unit = height / 6
    for i, letter in enumerate(text):
        x0 = left + i * unit * 5.6
        for stroke in LETTERS[letter]:
            points = [(x0 + x * unit, top + y * unit) for x, y in stroke]
            draw.line(points, fill=ink, width=int(width), joint="curve")
            for x, y in points:
                draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=ink)


def span(text, height):
    """How wide a text comes out."""
    return (len(text) * 5.6 - 1.6) * height / 6


def block_face(letter, colour):
    """The face of a toy block: a wooden square, a coloured rim, a letter."""
    img = Image.new("RGB", (600, 600), (226, 190, 138))
    draw = ImageDraw.Draw(img)
    draw.rounded_rectangle((36, 36, 564, 564), 60, fill=colour)
    draw.rounded_rectangle((84, 84, 516, 516), 36, fill=(240, 222, 184))
    write(draw, letter, 300 - span(letter, 300) / 2, 150, 300, 62, colour)
    return np.asarray(img, np.float32) / 255


def book_cover():
    """The front of the book."""
    img = Image.new("RGB", (900, 1200), (24, 52, 92))
    draw = ImageDraw.Draw(img)
    draw.rectangle((54, 54, 846, 1146), outline=(214, 178, 92), width=14)
    draw.rectangle((84, 84, 816, 1116), outline=(214, 178, 92), width=5)
    rows = [("LIB", 140, 32, 150), ("ESRGAN", 112, 27, 352)]
    for text, height, pen, top in rows:
        write(draw, text, 450 - span(text, height) / 2, top, height, pen, (240, 222, 170))
    for ring in range(7):  # a rosette of circles
        a = 2 * np.pi * ring / 7
        x, y = 450 + 140 * np.cos(a), 800 + 140 * np.sin(a)
        draw.ellipse((x - 118, y - 118, x + 118, y + 118), outline=(198, 92, 70), width=14)
    draw.ellipse((396, 746, 504, 854), fill=(214, 178, 92))
    return np.asarray(img, np.float32) / 255


def blurred(table, u, v):
    """Look a colour up in a picture at 0..1, between its pixels."""
    high, wide = table.shape[:2]
    x = np.clip(u, 0, 1) * (wide - 1.001)
    y = np.clip(v, 0, 1) * (high - 1.001)
    i, j = x.astype(int), y.astype(int)
    fx, fy = (x - i)[:, None], (y - j)[:, None]
    top = table[j, i] * (1 - fx) + table[j, i + 1] * fx
    low = table[j + 1, i] * (1 - fx) + table[j + 1, i + 1] * fx
    return top * (1 - fy) + low * fy


LATTICE = np.random.default_rng(4).random((256, 256)).astype(np.float32)


def noise(u, v):
    """Smooth random hills, one per unit, 0..1."""
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    fx, fy = u - i, v - j
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    at = lambda a, b: LATTICE[b % 256, a % 256]
    top = at(i, j) * (1 - fx) + at(i + 1, j) * fx
    low = at(i, j + 1) * (1 - fx) + at(i + 1, j + 1) * fx
    return top * (1 - fy) + low * fy


def hills(u, v, octaves):
    """Noise on several scales, 0..1."""
    out, weight = 0, 0
    for k in range(octaves):
        out = out + noise(u * 2 ** k + 17 * k, v * 2 ** k + 31 * k) / 2 ** k
        weight += 1 / 2 ** k
    return out / weight


def mix(a, b, f):
    """Between two colours; f is an array."""
    return np.asarray(a) * (1 - f[:, None]) + np.asarray(b) * f[:, None]


def wood(u, v, dark, light, planks):
    """Boards along u with grain; planks is how many to a unit of v."""
    board = np.floor(v * planks)
    grain = hills(u * 1.3 + board * 7.7, v * 26 + board * 3.1, 3)
    rings = 0.5 + 0.5 * np.sin(18 * hills(u * 0.5 + board * 5.3, v * 5 + board, 2))
    tint = 0.55 * grain + 0.3 * rings + 0.3 * LATTICE[(board.astype(int) * 37) % 256, 11]
    colour = mix(dark, light, np.clip(tint, 0, 1))
    gap = np.abs(v * planks - np.round(v * planks)) < 0.018
    colour[gap] *= 0.35
    return colour


class Plane:
    """A plane across one axis; painted by its other two coordinates."""

    def __init__(self, axis, place, paint):
        self.axis, self.place, self.paint, self.shine = axis, place, paint, 0.06

    def hit(self, o, d):
        slope = d[:, self.axis]
        t = (self.place - o[:, self.axis]) / np.where(np.abs(slope) < 1e-12, 1e-12, slope)
        return np.where(t > 1e-4, t, FAR)

    def normal(self, p, d):
        n = np.zeros_like(p)
        n[:, self.axis] = -np.sign(d[:, self.axis])
        return n


class Ball:
    """A sphere."""

    def __init__(self, centre, radius, paint, shine, mirror=0.0):
        self.centre, self.radius = np.array(centre, np.float64), radius
        self.paint, self.shine, self.mirror = paint, shine, mirror

    def hit(self, o, d):
        oc = o - self.centre
        b = (oc * d).sum(1)
        q = b * b - ((oc * oc).sum(1) - self.radius ** 2)
        t = -b - np.sqrt(np.maximum(q, 0))
        return np.where((q > 0) & (t > 1e-4), t, FAR)

    def normal(self, p, d):
        return (p - self.centre) / self.radius


class Box:
    """A box that may be turned about the upright axis."""

    def __init__(self, centre, half, turn, paint, shine):
        self.centre, self.half = np.array(centre, np.float64), np.array(half, np.float64)
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        self.turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        self.paint, self.shine = paint, shine

    def inside(self, p):
        """Its own coordinates, -1..1."""
        return (p - self.centre) @ self.turn.T / self.half

    def hit(self, o, d):
        o, d = self.inside(o), d @ self.turn.T / self.half
        with np.errstate(divide="ignore"):
            a, b = (-1 - o) / d, (1 - o) / d
        near, far = np.minimum(a, b).max(1), np.maximum(a, b).min(1)
        return np.where((near < far) & (near > 1e-4), near, FAR)

    def normal(self, p, d):
        q = self.inside(p)
        k = np.abs(q).argmax(1)
        n = np.zeros_like(q)
        n[np.arange(len(q)), k] = np.sign(q[np.arange(len(q)), k])
        return n @ self.turn


class Rod:
    """A straight rod with flat ends (a pencil, or upright, a mug)."""

    def __init__(self, a, b, radius, paint, shine):
        self.a, self.radius, self.paint, self.shine = np.array(a, np.float64), radius, paint, shine
        along = np.array(b, np.float64) - self.a
        self.long = np.linalg.norm(along)
        self.along = along / self.long

    def hit(self, o, d):
        oc = o - self.a
        du, ou = d @ self.along, oc @ self.along
        dv, ov = d - du[:, None] * self.along, oc - ou[:, None] * self.along
        a, b = (dv * dv).sum(1), (dv * ov).sum(1)
        q = b * b - a * ((ov * ov).sum(1) - self.radius ** 2)
        t = (-b - np.sqrt(np.maximum(q, 0))) / np.maximum(a, 1e-12)
        at = ou + t * du
        best = np.where((q > 0) & (t > 1e-4) & (at >= 0) & (at <= self.long), t, FAR)
        for end in (0.0, self.long):
            t = (end - ou) / np.where(np.abs(du) < 1e-9, 1e-9, du)
            r = ov + t[:, None] * dv
            best = np.where((t > 1e-4) & ((r * r).sum(1) < self.radius ** 2),
                            np.minimum(best, t), best)
        return best

    def normal(self, p, d):
        pc = p - self.a
        u = pc @ self.along
        n = (pc - u[:, None] * self.along) / self.radius
        n[u < 1e-4] = -self.along
        n[u > self.long - 1e-4] = self.along
        return n


def paint_table(p, n):
    return wood(p[:, 0] + 3, p[:, 2] + 9.13, (0.30, 0.15, 0.07), (0.66, 0.40, 0.20), 1.6)


def paint_wall(p, n):
    """Glazed tiles; every third one of the diagonal carries a star."""
    u, v = p[:, 0] / 0.9 + 20.36, p[:, 1] / 0.9 + 0.30
    i, j = np.floor(u), np.floor(v)
    x, y = u - i - 0.5, v - j - 0.5
    shade = 0.92 + 0.08 * LATTICE[(j.astype(int) * 5) % 256, (i.astype(int) * 3) % 256]
    colour = mix((0.80, 0.84, 0.80), (0.86, 0.88, 0.84), hills(p[:, 0] * 3, p[:, 1] * 3, 2)) * shade[:, None]
    r, a = np.hypot(x, y), np.arctan2(y, x)
    star = (i + j) % 3 == 0
    colour[star & (r < 0.30 + 0.10 * np.cos(6 * a))] = (0.10, 0.33, 0.52)
    colour[star & (r < 0.21 + 0.05 * np.cos(6 * a))] = (0.88, 0.84, 0.66)
    colour[star & (r < 0.10)] = (0.75, 0.30, 0.16)
    colour[np.maximum(np.abs(x), np.abs(y)) > 0.474] = (0.42, 0.42, 0.40)
    return colour


def paint_beach_ball(p, n):
    """Six wedges about a tilted axis, and caps."""
    pole = np.array([0.35, 0.85, -0.40])
    pole /= np.linalg.norm(pole)
    east = np.cross(pole, [0.0, 0.0, 1.0])
    east /= np.linalg.norm(east)
    a = np.arctan2(n @ np.cross(pole, east), n @ east)
    wedge = np.floor((a / np.pi + 1) * 4).astype(int) % 4
    colours = np.array([(0.80, 0.10, 0.08), (0.92, 0.90, 0.86), (0.08, 0.28, 0.62), (0.95, 0.72, 0.10)])
    out = colours[wedge]
    out[np.abs(n @ pole) > 0.955] = (0.92, 0.90, 0.86)
    return out


def paint_orange(p, n):
    pits = hills(n[:, 0] * 22 + 50, n[:, 1] * 22 + n[:, 2] * 13 + 50, 2)
    return mix((0.80, 0.33, 0.02), (0.96, 0.53, 0.08), pits)


def paint_block(box, faces):
    """A painter for a block with a letter on the sides that can be seen."""
    def paint(p, n):
        q = box.inside(p)
        k = np.abs(q).argmax(1)
        out = wood(q[:, 0], q[:, 2] * 0.3 + q[:, 1] * 0.2, (0.62, 0.42, 0.22), (0.85, 0.68, 0.45), 0.01)
        front, side = (k == 2) & (q[:, 2] < 0), k == 0
        for where, axis, face in ((front, 0, faces[0]), (side, 2, faces[1])):
            flip = 1 if axis == 0 else -np.sign(q[where, 0])
            out[where] = blurred(face, 0.5 + 0.5 * q[where, axis] * flip, 0.5 - 0.5 * q[where, 1])
        return out
    return paint


def paint_book(box, cover):
    """A painter for the book: cover in front, pages on top, spine aside."""
    def paint(p, n):
        q = box.inside(p)
        k = np.abs(q).argmax(1)
        out = np.full(p.shape, (0.09, 0.19, 0.34))
        front = (k == 2) & (q[:, 2] < 0)
        out[front] = blurred(cover, 0.5 + 0.5 * q[front, 0], 0.5 - 0.5 * q[front, 1])
        pages = ((k == 1) | (k == 0)) & (np.abs(q[:, 2]) < 0.8)
        sheets = noise(q[pages, 2] * 24 + 40, q[pages, 0] * 0.7 + 9)
        out[pages] = mix((0.70, 0.66, 0.55), (0.93, 0.90, 0.80), sheets)
        return out
    return paint


def paint_mug(foot, tall):
    """A painter for the mug: cream glaze with zigzag bands."""
    def paint(p, n):
        a = np.arctan2(n[:, 0], n[:, 2]) / np.pi
        v = (p[:, 1] - foot) / tall
        out = np.full(p.shape, (0.90, 0.86, 0.76))
        saw = np.abs((a * 9) % 1 - 0.5) * 0.22
        red, green = (0.72, 0.20, 0.14), (0.12, 0.38, 0.36)
        for height, colour in ((0.20, red), (0.40, green), (0.60, red)):
            out[np.abs(v - height - saw) < 0.045] = colour
        out[(v < 0.07) | (v > 0.93)] = green
        out[n[:, 1] > 0.9] = (0.10, 0.08, 0.07)
        return out
    return paint


def paint_pencil(a, along, long, colour):
    """A painter for a pencil: lacquer, a bare stretch and a dark end."""
    def paint(p, n):
        u = (p - np.array(a)) @ along / long
        out = np.full(p.shape, colour)
        out[u > 0.90] = (0.86, 0.66, 0.42)
        out[u > 0.965] = (0.08, 0.08, 0.09)
        return out
    return paint


def paint_steel(p, n):
    return np.full(p.shape, (0.86, 0.87, 0.88))


def scene():
    """All things in the picture."""
    things = [Plane(1, 0.0, paint_table), Plane(2, 1.9, paint_wall)]
    things[1].shine = 0.25
    inks = [(176, 40, 34), (28, 92, 60), (30, 70, 140)]
    places = [(-0.95, 0.27, -0.75, 14), (-0.30, 0.27, -0.95, -9), (-0.60, 0.81, -0.82, 24)]
    for i, (x, y, z, turn) in enumerate(places):
        box = Box((x, y, z), (0.27, 0.27, 0.27), turn, None, 0.10)
        box.paint = paint_block(box, [block_face("ERS"[i], inks[i]), block_face("GAN"[i], inks[(i + 1) % 3])])
        things.append(box)
    book = Box((0.16, 0.90, 0.66), (0.70, 0.90, 0.10), -12, None, 0.15)
    book.paint = paint_book(book, book_cover())
    things.append(book)
    things.append(Ball((1.02, 0.44, -0.42), 0.44, paint_beach_ball, 0.5))
    things.append(Ball((0.42, 0.24, -1.30), 0.24, paint_orange, 0.25))
    things.append(Ball((-1.60, 0.36, -0.10), 0.36, paint_steel, 0.6, mirror=0.8))
    things.append(Rod((1.62, 0.0, 0.62), (1.62, 0.92, 0.62), 0.40, paint_mug(0.0, 0.92), 0.4))
    for a, b, colour in (((1.52, 0.80, 0.62), (1.24, 1.82, 0.85), (0.82, 0.62, 0.06)),
                         ((1.68, 0.80, 0.55), (1.80, 1.88, 0.78), (0.66, 0.10, 0.10)),
                         ((1.62, 0.80, 0.70), (1.52, 1.74, 1.02), (0.10, 0.34, 0.20)),
                         ((0.74, 0.05, -1.62), (1.66, 0.05, -1.20), (0.12, 0.22, 0.52))):
        rod = Rod(a, b, 0.05, None, 0.3)
        rod.paint = paint_pencil(a, rod.along, rod.long, colour)
        things.append(rod)
    return things


def nearest(things, o, d):
    """Distance to the first thing on each ray, and which it is."""
    best, which = np.full(len(o), FAR), np.full(len(o), -1)
    for k, thing in enumerate(things):
        t = thing.hit(o, d)
        closer = t < best
        best[closer], which[closer] = t[closer], k
    return best, which


def blocked(things, o, d, reach):
    """Is there anything on the way?"""
    out = np.zeros(len(o), bool)
    for thing in things:
        out |= thing.hit(o, d) < reach
    return out


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def shade(things, o, d, lamp, around, depth=0):
    """Colour that comes back along each ray, in linear light."""
    t, which = nearest(things, o, d)
    out = np.zeros(o.shape) + np.array([0.55, 0.62, 0.70]) * 0.8  # the room behind us
    for k, thing in enumerate(things):
        m = which == k
        if not m.any():
            continue
        p = o[m] + t[m, None] * d[m]
        n = thing.normal(p, d[m])
        p = p + n * 1e-3
        colour = np.clip(thing.paint(p, n), 0, 1) ** 2.2
        to = lamp - p
        far = np.linalg.norm(to, axis=1)
        to = to / far[:, None]
        lit = np.clip((n * to).sum(1), 0, 1) * ~blocked(things, p, to, far) * (30 / far ** 2)
        sky = unit(n + around)
        soft = np.where(blocked(things, p, sky, 1.6), 0.10, 0.55)
        got = colour * (lit[:, None] * (1.0, 0.93, 0.80) + soft[:, None] * (0.72, 0.86, 1.0))
        half = unit(to - d[m])
        glint = np.clip((n * half).sum(1), 0, 1) ** 90 * lit * thing.shine
        mirror = getattr(thing, "mirror", 0.0)
        if mirror and depth == 0:
            back = d[m] - 2 * (d[m] * n).sum(1)[:, None] * n
            got = got * (1 - mirror) + mirror * 0.9 * shade(things, p, back, lamp, around, 1)
        out[m] = got + glint[:, None]
    return out


def render():
    """The picture, supersampled; each of the rays of a pixel sees another lamp point."""
    things = scene()
    ahead = unit(AIM - EYE)
    right = unit(np.cross([0.0, 1.0, 0.0], ahead))
    up = np.cross(ahead, right)
    total = np.zeros((HIGH * WIDE, 3))
    count = SIDE * SIDE
    for k in range(count):
        # A regular grid of rays; lamp and sky points from a golden sequence.
        dx, dy = (k % SIDE + 0.5) / SIDE, (k // SIDE + 0.5) / SIDE
        y, x = np.mgrid[0:HIGH, 0:WIDE].reshape(2, -1)
        u, v = (x + dx - WIDE / 2) / HIGH * 2, (HIGH / 2 - y - dy) / HIGH * 2
        d = unit(u[:, None] * right + v[:, None] * up + LENS * ahead)
        a, r = 2 * np.pi * ((k * GOLDEN) % 1), np.sqrt(((k * 7) % count + 0.5) / count)
        lamp = np.array([-3.4, 4.6, -3.2]) + 0.75 * r * np.array([np.cos(a), 0.3 * np.sin(a), np.sin(a)])
        height = 1 - 2 * ((k * 11) % count + 0.5) / count
        ring = np.sqrt(1 - height * height)
        around = 0.97 * np.array([ring * np.cos(a), height, ring * np.sin(a)])
        total += shade(things, np.broadcast_to(EYE, d.shape), d, lamp, around)
        print(f"\r{k + 1}/{count}", end="", file=sys.stderr)
    print(file=sys.stderr)
    light = (total / count).reshape(HIGH, WIDE, 3)
    y, x = np.mgrid[0:HIGH, 0:WIDE]
    edge = ((x / WIDE - 0.5) ** 2 + (y / HIGH - 0.5) ** 2)[..., None]
    light = light * (1 - 0.55 * edge) * 0.72
    film = 1 - np.exp(-1.9 * light)  # bright parts roll off as on film
    return np.round(255 * np.clip(film, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    large = Image.fromarray(render())
    large.save(os.path.join(folder, "demo-hr.png"), optimize=True)
    large.resize((WIDE // 4, HIGH // 4), Image.BICUBIC).save(os.path.join(folder, "demo.png"), optimize=True)


if __name__ == "__main__":
    main()

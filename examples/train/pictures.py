"""Pictures for training: read once into memory, cut into random pieces.

Every batch depends on nothing but the seed and the number of the step, so a
run that is broken off and taken up again sees exactly the same pieces.
"""

import io
import os
import sys
import threading

import numpy as np
from PIL import Image, ImageFilter

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm")


class DataError(Exception):
    """Something about the pictures that only the user can put right."""


def find(folders):
    """List the picture files in and below the folders, in a fixed order."""
    found = []
    for folder in folders:
        if not os.path.isdir(folder):
            raise DataError(f"{folder}: not a folder")
        here = [os.path.join(base, name) for base, _, names in os.walk(folder)
                for name in names if name.lower().endswith(ENDINGS)]
        if not here:
            raise DataError(f"{folder}: no pictures in it ({', '.join(e[1:] for e in ENDINGS)})")
        found += sorted(here)
    return found


def read(path):
    """Read one picture as RGB; grey and palette pictures become RGB too."""
    try:
        with Image.open(path) as img:
            if img.mode[0] in "IF":
                raise ValueError("more than 8 bits to a channel")
            return img.convert("RGB")
    except Exception as err:  # PIL raises many kinds on broken files
        raise DataError(f"{path}: cannot be read ({err})") from None


def trim(img, scale):
    """Cut the right and lower edge so that the scale divides both sides."""
    return img.crop((0, 0, img.width // scale * scale, img.height // scale * scale))


def shrink(img, scale):
    """The antialiased bicubic reduction that the net learns to undo."""
    if scale == 1:
        return img
    return img.resize((img.width // scale, img.height // scale), Image.BICUBIC)


def squeeze(img, quality, coarse_colour):
    """Pass a picture through JPEG."""
    store = io.BytesIO()
    img.save(store, "JPEG", quality=quality, subsampling=2 if coarse_colour else 0)
    return Image.open(store).convert("RGB")


def load(folders, scale, crop, rescale=(1.0,), say=print):
    """Read all pictures and their reductions; name those that cannot be used.

    crop is the side of a piece of the small picture. rescale lists factors at
    which each picture is used: reduced ones are sharper and add variety.
    """
    pairs, grey = [], 0
    for path in find(folders):
        try:
            img = read(path)
        except DataError as err:
            say(f"skipped {err}")
            continue
        if min(img.size) // scale < crop:
            say(f"skipped {path}: {img.width}x{img.height} is smaller than a piece "
                f"({crop * scale}x{crop * scale})")
            continue
        for factor in rescale:
            part = img if factor == 1 else img.resize(
                (int(img.width * factor), int(img.height * factor)), Image.BICUBIC)
            part = trim(part, scale)
            if min(part.size) // scale >= crop:
                pairs.append((np.asarray(part), np.asarray(shrink(part, scale))))
        one = np.asarray(img)
        grey += bool((one[..., 0] == one[..., 1]).all() and (one[..., 1] == one[..., 2]).all())
    if not pairs:
        raise DataError(f"no usable picture in {', '.join(folders)}")
    if grey:
        say(f"note: {grey} of the pictures are grey; a net that sees only such forgets colour")
    return pairs


def detail(piece):
    """How much there is to see in a piece: its mean step between neighbours."""
    flat = piece[..., 1].astype(np.int16)
    return np.abs(np.diff(flat, axis=0)).mean() + np.abs(np.diff(flat, axis=1)).mean()


class Batches:
    """Cuts batches; the next one is made on a thread while the net works."""

    def __init__(self, pairs, scale, crop, size, seed, degrade, pick):
        self.pairs, self.scale, self.crop, self.size = pairs, scale, crop, size
        self.seed, self.degrade, self.pick = seed, degrade, pick
        area = np.array([small.shape[0] * small.shape[1] for _, small in pairs], float)
        self.chance = np.cumsum(area / area.sum())
        self.ready = {}
        self.thread = None

    def place(self, rng):
        """A random piece: the one with more detail of a few draws."""
        best = None
        for _ in range(self.pick):
            k = min(int(np.searchsorted(self.chance, rng.random())), len(self.pairs) - 1)
            small = self.pairs[k][1]
            y = int(rng.integers(small.shape[0] - self.crop + 1))
            x = int(rng.integers(small.shape[1] - self.crop + 1))
            score = detail(small[y:y + self.crop, x:x + self.crop]) if self.pick > 1 else 0
            if best is None or score > best[0]:
                best = (score, k, y, x)
        return best[1:]

    def worsen(self, large, small, rng):
        """What pictures from the web went through: a light blur, then JPEG."""
        img = Image.fromarray(small)
        if rng.random() < 0.4:
            blurred = Image.fromarray(large).filter(
                ImageFilter.GaussianBlur(rng.uniform(0.2, 0.5) * self.scale))
            img = shrink(blurred, self.scale)
        if rng.random() < 0.85:
            img = squeeze(img, int(rng.integers(55, 96)), rng.random() < 0.6)
        return np.asarray(img)

    def make(self, step):
        """The batch of a step: small and large pieces, uint8, N x H x W x 3."""
        rng = np.random.default_rng([self.seed, step])
        smalls, larges = [], []
        for _ in range(self.size):
            k, y, x = self.place(rng)
            c, s = self.crop, self.scale
            large = self.pairs[k][0][y * s:(y + c) * s, x * s:(x + c) * s]
            small = self.pairs[k][1][y:y + c, x:x + c]
            if rng.random() < self.degrade:
                small = self.worsen(large, small, rng)
            # The reduction treats all eight orientations alike, so turning
            # both pieces is the same as reducing a turned picture.
            turn, flip = int(rng.integers(4)), rng.random() < 0.5
            large, small = np.rot90(large, turn), np.rot90(small, turn)
            if flip:
                large, small = large[:, ::-1], small[:, ::-1]
            larges.append(large)
            smalls.append(small)
        return np.stack(smalls), np.stack(larges)

    def ahead(self, step):
        try:
            self.ready[step] = self.make(step)
        except Exception as err:  # handed to the thread that waits for it
            self.ready[step] = err

    def get(self, step):
        """The batch of this step; starts on the next one before it returns."""
        if self.thread:
            self.thread.join()
        got = self.ready.pop(step, None)
        if got is None:
            got = self.make(step)
        if isinstance(got, Exception):
            raise got
        self.ready.clear()
        self.thread = threading.Thread(target=self.ahead, args=(step + 1,), daemon=True)
        self.thread.start()
        return got


def warn(text):
    """Messages about the data go where errors go."""
    print(text, file=sys.stderr, flush=True)

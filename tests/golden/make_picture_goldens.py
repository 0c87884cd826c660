#!/usr/bin/env python3
"""
Makes tests/golden/pictures: what Pillow makes of resized pictures, and what scikit-image and NumPy
make of PSNR and SSIM, to measure esrgan_resize, esrgan_psnr and esrgan_ssim against.

    /usr/bin/python3 tests/golden/make_picture_goldens.py

resize.npy   for each line of resize.txt (filter, channels, width, height of the source, width and
             height of the result) two float32 arrays of height x width x channels: the source,
             16-bit samples, and the result, unrounded (Pillow's mode F, a channel at a time; with
             alpha the colours are multiplied by it before and divided by it afterwards).
resize8.npy  the same for resize8.txt with 8-bit samples and Pillow's own 8-bit arithmetic, whose
             weights are fixed-point numbers and whose passes round and clamp one after the other
             (the samples stay clear of 0 and 255, so that nothing is clamped in between).
metrics.npy  for each line of metrics.txt (channels, bits, border, then PSNR and SSIM over the
             samples and over Y of BT.601) two float32 arrays of samples.
"""
import os

import numpy as np
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pictures")
FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
}
rng = np.random.default_rng(20240601)


def picture(height, width, channels, top):
    """Waves, an edge and some noise."""
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for c in range(channels):
        p = 0.5 + 0.3 * np.sin(0.7 * x + c) * np.cos(0.5 * y - c) + 0.1 * (x > width / 2)
        planes.append(p + 0.1 * rng.standard_normal((height, width)))
    p = np.clip(np.stack(planes, -1), 0, 1)
    if channels in (2, 4):
        p[..., -1] = np.where(p[..., -1] > 0.8, 1, np.where(p[..., -1] < 0.4, 0, p[..., -1]))
    return np.round(p * top)


def resize_plane(plane, size, how):
    return np.asarray(Image.fromarray(plane.astype(np.float32), "F").resize(size, how), np.float64)


def resize(p, size, how):
    if p.shape[2] % 2:
        return np.stack([resize_plane(p[..., c], size, how) for c in range(p.shape[2])], -1)
    alpha = p[..., -1] / 65535
    coloured = [p[..., c] * alpha for c in range(p.shape[2] - 1)]
    out_alpha = resize_plane(p[..., -1], size, how)
    seen = out_alpha > 0
    safe = np.where(seen, out_alpha / 65535, 1)
    out = [np.where(seen, resize_plane(c, size, how) / safe, 0) for c in coloured]
    return np.stack(out + [out_alpha], -1)


def resize_cases():
    sizes = [((9, 7), (18, 14)), ((9, 7), (22, 12)), ((16, 12), (4, 4)), ((12, 16), (5, 18)),
             ((5, 4), (15, 12)), ((1, 1), (3, 2)), ((2, 9), (1, 1)), ((8, 7), (8, 7))]
    for f, name in enumerate(FILTERS):
        for i, (source, result) in enumerate(sizes):
            yield name, 1 + (i + f) % 4, source, result


def write_resizes():
    with open(os.path.join(HERE, "resize.txt"), "w") as index, \
            open(os.path.join(HERE, "resize.npy"), "wb") as data:
        for name, channels, (w, h), (ow, oh) in resize_cases():
            p = picture(h, w, channels, 65535)
            r = resize(p, (ow, oh), FILTERS[name])
            print(name, channels, w, h, ow, oh, file=index)
            np.save(data, p.astype(np.float32))
            np.save(data, r.astype(np.float32))
    with open(os.path.join(HERE, "resize8.txt"), "w") as index, \
            open(os.path.join(HERE, "resize8.npy"), "wb") as data:
        for name in FILTERS:
            for (w, h), (ow, oh) in [((9, 7), (18, 14)), ((16, 12), (4, 5))]:
                p = (60 + picture(h, w, 3, 135)).astype(np.uint8)
                r = np.asarray(Image.fromarray(p).resize((ow, oh), FILTERS[name]))
                print(name, 3, w, h, ow, oh, file=index)
                np.save(data, p.astype(np.float32))
                np.save(data, r.astype(np.float32))


def luma(p, top):
    """Y of BT.601 in studio range, 0..1 for 0..255, not rounded (BasicSR's bgr2ycbcr)."""
    y = (16 + (65.481 * p[..., 0] + 128.553 * p[..., 1] + 24.966 * p[..., 2]) / top) / 255
    return y[..., None]


def ssim(a, b, top):
    values = [structural_similarity(a[..., c], b[..., c], data_range=top, gaussian_weights=True,
                                    sigma=1.5, use_sample_covariance=False, K1=0.01, K2=0.03)
              for c in range(a.shape[2])]
    return np.mean(values)


def write_metrics():
    with open(os.path.join(HERE, "metrics.txt"), "w") as index, \
            open(os.path.join(HERE, "metrics.npy"), "wb") as data:
        for channels, bits, border, h, w, noise in [
                (3, 8, 0, 13, 17, 0.05), (3, 8, 2, 18, 15, 0.01), (1, 8, 0, 11, 11, 0.2),
                (4, 8, 1, 14, 17, 0.1), (2, 16, 0, 17, 13, 0.02), (3, 16, 3, 19, 18, 0.003)]:
            top = 2 ** bits - 1
            a = picture(h, w, channels, top)
            b = np.clip(np.round(a + noise * top * rng.standard_normal(a.shape)), 0, top)
            inner = slice(border, h - border), slice(border, w - border)
            colours = 1 if channels < 3 else 3
            ca, cb = a[inner][..., :colours], b[inner][..., :colours]
            la, lb, unit = (luma(ca, top), luma(cb, top), 1) if colours == 3 else (ca, cb, top)
            print(channels, bits, border,
                  repr(float(peak_signal_noise_ratio(ca, cb, data_range=top))),
                  repr(float(ssim(ca, cb, top))),
                  repr(float(peak_signal_noise_ratio(la, lb, data_range=unit))),
                  repr(float(ssim(la, lb, unit))), file=index)
            np.save(data, a.astype(np.float32))
            np.save(data, b.astype(np.float32))


if __name__ == "__main__":
    os.makedirs(HERE, exist_ok=True)
    write_resizes()
    write_metrics()

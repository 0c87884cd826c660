"""Peak signal-to-noise ratio the way papers on upscaling report it."""

import math
import os

import numpy as np
import torch
from PIL import Image

import pictures


def luma(rgb):
    """Y of YCbCr as MATLAB's rgb2ycbcr has it (16 to 235), from 0..255 RGB."""
    rgb = np.asarray(rgb, np.float64)
    return 16 + (rgb @ np.array([65.481, 128.553, 24.966])) / 255


def psnr(a, b, border=0):
    """PSNR of two arrays in 0..255, without a border of so many pixels."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if border:
        a, b = a[border:-border, border:-border], b[border:-border, border:-border]
    err = np.mean((a - b) ** 2)
    return math.inf if err == 0 else 10 * math.log10(255 ** 2 / err)


def load(folder, scale):
    """Pairs of (name, large, small) to validate on.

    At scale 1 there is no reduction to undo, so the small one goes through JPEG.
    """
    pairs = []
    for path in pictures.find([folder]):
        large = pictures.trim(pictures.read(path), scale)
        if min(large.size) < 8 * scale:
            raise pictures.DataError(f"{path}: too small to validate on")
        small = pictures.shrink(large, scale) if scale > 1 else pictures.squeeze(large, 60, True)
        pairs.append((os.path.basename(path), np.asarray(large), np.asarray(small)))
    return pairs


def upscale(net, small):
    """Run a net over one uint8 picture; whole pixels come back."""
    where = next(net.parameters()).device
    high, wide = small.shape[:2]
    # A net that folds its input needs sides that the fold divides.
    fill = ((0, -high % net.fold), (0, -wide % net.fold), (0, 0))
    x = np.ascontiguousarray(np.pad(small, fill, "edge").transpose(2, 0, 1))
    x = torch.from_numpy(x)[None].to(where).float() / 255
    with torch.no_grad():
        y = net(x)[0].clamp(0, 1).mul(255).round().byte().cpu().numpy().transpose(1, 2, 0)
    return y[:high * net.scale, :wide * net.scale]


def validate(net, pairs):
    """PSNR of Y for each pair, in full floats, whatever the net trains in."""
    kept, net.compute = net.compute, torch.float32
    try:
        border = max(net.scale, 1)
        return [psnr(luma(upscale(net, small)), luma(large), border)
                for _, large, small in pairs]
    finally:
        net.compute = kept


def bicubic(pairs):
    """The same figures for plain bicubic enlargement (or for doing nothing)."""
    out = []
    for _, large, small in pairs:
        size = (large.shape[1], large.shape[0])
        big = np.asarray(Image.fromarray(small).resize(size, Image.BICUBIC))
        out.append(psnr(luma(big), luma(large), max(size[0] // small.shape[1], 1)))
    return out

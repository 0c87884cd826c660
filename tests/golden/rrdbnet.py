"""RRDBNet in PyTorch, written from the published architecture, for goldens and live comparisons.

The module's own names are BasicSR's; `rename` gives them as other files spell them.
"""
import math
import re

import torch
from torch import nn
from torch.nn import functional as F


class DenseBlock(nn.Module):
    def __init__(self, features, growth, plus):
        super().__init__()
        for k in range(1, 6):
            out = growth if k < 5 else features
            setattr(self, f"conv{k}", nn.Conv2d(features + (k - 1) * growth, out, 3, 1, 1))
        if plus:
            self.conv1x1 = nn.Conv2d(features, growth, 1, bias=False)
        self.plus = plus

    def forward(self, x, op):
        x1 = op.lrelu(op.conv(self.conv1, x))
        x2 = op.lrelu(op.conv(self.conv2, torch.cat((x, x1), 1)))
        if self.plus:
            x2 = op.add(x2, op.conv(self.conv1x1, x))
        x3 = op.lrelu(op.conv(self.conv3, torch.cat((x, x1, x2), 1)))
        x4 = op.lrelu(op.conv(self.conv4, torch.cat((x, x1, x2, x3), 1)))
        if self.plus:
            x4 = op.add(x4, x2)
        x5 = op.conv(self.conv5, torch.cat((x, x1, x2, x3, x4), 1))
        return op.add(op.scale(x5), x)


class Block(nn.Module):
    def __init__(self, features, growth, plus):
        super().__init__()
        self.rdb1 = DenseBlock(features, growth, plus)
        self.rdb2 = DenseBlock(features, growth, plus)
        self.rdb3 = DenseBlock(features, growth, plus)

    def forward(self, x, op):
        out = self.rdb3(self.rdb2(self.rdb1(x, op), op), op)
        return op.add(op.scale(out), x)


class Exact:
    """The operations as PyTorch does them in the type of the weights."""

    def conv(self, layer, x):
        return F.conv2d(x, layer.weight, layer.bias, padding=layer.padding)

    def lrelu(self, x):
        return F.leaky_relu(x, 0.2)

    def scale(self, x):
        return x * 0.2

    def add(self, a, b):
        return a + b


class Rounded(Exact):
    """
    A model in half precision: weights, input and the result of every operation are rounded to
    `dtype`; sums are wider.  PyTorch has no half convolution on a CPU, so values are kept in double
    and rounded where a half tensor would be written.  Scalars (0.2) are float32, as they are in
    PyTorch's element-wise kernels.
    """

    SLOPE = float(torch.tensor(0.2, dtype=torch.float32))

    def __init__(self, dtype):
        self.dtype = dtype

    def round(self, x):
        return x.float().to(self.dtype).double()

    def conv(self, layer, x):
        bias = None if layer.bias is None else self.round(layer.bias)
        return self.round(F.conv2d(x, self.round(layer.weight), bias, padding=layer.padding))

    def lrelu(self, x):
        return self.round(F.leaky_relu(x, self.SLOPE))

    def scale(self, x):
        return self.round(x * self.SLOPE)

    def add(self, a, b):
        return self.round(a + b)


class RRDBNet(nn.Module):
    def __init__(self, channels_in=3, channels_out=3, features=64, blocks=23, growth=32, ups=2,
                 unshuffle=1, plus=False, up_factor=2):
        super().__init__()
        self.ups, self.unshuffle, self.up_factor = ups, unshuffle, up_factor
        self.conv_first = nn.Conv2d(channels_in * unshuffle**2, features, 3, 1, 1)
        self.body = nn.ModuleList(Block(features, growth, plus) for _ in range(blocks))
        self.conv_body = nn.Conv2d(features, features, 3, 1, 1)
        for n in range(1, ups + 1):
            setattr(self, f"conv_up{n}", nn.Conv2d(features, features, 3, 1, 1))
        self.conv_hr = nn.Conv2d(features, features, 3, 1, 1)
        self.conv_last = nn.Conv2d(features, channels_out, 3, 1, 1)

    def forward(self, x, op=Exact()):
        if self.unshuffle > 1:
            x = F.pixel_unshuffle(x, self.unshuffle)
        first = op.conv(self.conv_first, x)
        body = first
        for block in self.body:
            body = block(body, op)
        x = op.add(first, op.conv(self.conv_body, body))
        for n in range(1, self.ups + 1):
            x = F.interpolate(x, scale_factor=self.up_factor, mode="nearest")
            x = op.lrelu(op.conv(getattr(self, f"conv_up{n}"), x))
        return op.conv(self.conv_last, op.lrelu(op.conv(self.conv_hr, x)))

    def reference(self, x, dtype):
        """What a model of that type returns, as a tensor of that type."""
        with torch.no_grad():
            if dtype in (torch.float32, torch.float64):
                saved = next(self.parameters()).dtype
                out = self.to(dtype)(x.to(dtype))
                self.to(saved)
                return out
            saved = next(self.parameters()).dtype
            op = Rounded(dtype)
            out = self.double()(op.round(x), op)
            self.to(saved)
            return out.to(dtype)


def randomise(net, seed, gain=1.0):
    """Weights that keep the spread of activations about level, so that errors mean something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in net.named_parameters():
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float32)
            if p.dim() == 1:
                p.copy_(0.1 * noise)
            else:
                fan_in = p[0].numel()
                p.copy_(noise * gain * math.sqrt(2 / 1.04 / fan_in))
    return net.eval()


def rename(state, layout, ups):
    """The same tensors under the names of another layout, in the same order."""
    blocks = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("body."))
    old = {"conv_first": "model.0", "conv_body": f"model.1.sub.{blocks}",
           "conv_hr": f"model.{3 * ups + 2}", "conv_last": f"model.{3 * ups + 4}"}
    old.update({f"conv_up{n}": f"model.{3 * n}" for n in range(1, ups + 1)})
    bsrgan = {"conv_body": "trunk_conv", "conv_hr": "HRconv"}
    bsrgan.update({f"conv_up{n}": f"upconv{n}" for n in range(1, ups + 1)})

    def one(key):
        stem, kind = key.rsplit(".", 1)
        dense = re.fullmatch(r"body\.(\d+)\.rdb(\d)\.(conv\w+)", stem)
        if layout == "esrgan":
            if dense:
                inner = "" if dense[3] == "conv1x1" else ".0"
                return f"model.1.sub.{dense[1]}.RDB{dense[2]}.{dense[3]}{inner}.{kind}"
            return f"{old[stem]}.{kind}"
        if layout in ("bsrgan", "mixed-blocks") and dense:
            return f"RRDB_trunk.{dense[1]}.RDB{dense[2]}.{dense[3]}.{kind}"
        if layout in ("bsrgan", "mixed-tail"):
            return f"{bsrgan.get(stem, stem)}.{kind}"
        return key

    return type(state)((one(k), v) for k, v in state.items())

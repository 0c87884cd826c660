"""RRDBNet, the generator of ESRGAN, with the key names that the common tools use.

The forward pass can run in a narrower type than the weights are kept in: the
optimizer then works on full floats while the convolutions, which cost nearly
all the time, run in bfloat16 where the processor is good at it.
"""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

SCALES = (1, 2, 4, 8)


def lrelu(x):
    """The activation used everywhere; in place, since nothing needs its input."""
    return F.leaky_relu(x, 0.2, inplace=True)


class Conv(nn.Conv2d):
    """A 3x3 convolution that takes the type of its input, whatever its weights are."""

    def __init__(self, cin, cout):
        super().__init__(cin, cout, 3, 1, 1)

    def forward(self, x):
        weight = self.weight.to(x.dtype)
        if x.dtype != self.weight.dtype:
            weight = weight.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight, self.bias.to(x.dtype), 1, 1)


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees the outputs of all before it."""

    def __init__(self, feat, grow):
        super().__init__()
        for i in range(4):
            setattr(self, f"conv{i + 1}", Conv(feat + i * grow, grow))
        self.conv5 = Conv(feat + 4 * grow, feat)

    def forward(self, x):
        seen = x
        for i in range(1, 5):
            seen = torch.cat((seen, lrelu(getattr(self, f"conv{i}")(seen))), 1)
        return torch.add(x, self.conv5(seen), alpha=0.2)


class RRDB(nn.Module):
    """A residual block of three dense blocks."""

    def __init__(self, feat, grow):
        super().__init__()
        self.rdb1 = DenseBlock(feat, grow)
        self.rdb2 = DenseBlock(feat, grow)
        self.rdb3 = DenseBlock(feat, grow)

    def forward(self, x):
        return torch.add(x, self.rdb3(self.rdb2(self.rdb1(x))), alpha=0.2)


class RRDBNet(nn.Module):
    """Scale 4 and 8 double the picture two and three times after the body.

    Scale 2 and 1 fold the picture into a quarter of its size first (2x2 or 4x4
    pixels become channels) and then double it twice, as Real-ESRGAN does.
    """

    def __init__(self, scale=4, feat=32, blocks=4, grow=16):
        super().__init__()
        if scale not in SCALES:
            raise ValueError(f"scale {scale}: must be one of {SCALES}")
        self.scale, self.feat, self.blocks, self.grow = scale, feat, blocks, grow
        self.fold = {1: 4, 2: 2}.get(scale, 1)
        self.doublings = 3 if scale == 8 else 2
        self.compute = torch.float32
        self.conv_first = Conv(3 * self.fold ** 2, feat)
        self.body = nn.Sequential(*[RRDB(feat, grow) for _ in range(blocks)])
        self.conv_body = Conv(feat, feat)
        for i in range(self.doublings):
            setattr(self, f"conv_up{i + 1}", Conv(feat, feat))
        self.conv_hr = Conv(feat, feat)
        self.conv_last = Conv(feat, 3)

    def forward(self, x):
        if self.fold > 1:
            x = F.pixel_unshuffle(x, self.fold)
        x = x.to(self.compute).contiguous(memory_format=torch.channels_last)
        x = self.conv_first(x)
        x = x + self.conv_body(self.body(x))
        for i in range(self.doublings):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = lrelu(getattr(self, f"conv_up{i + 1}")(x))
        x = lrelu(self.conv_hr(x))
        # Eight bits of mantissa are too few for a pixel: the last step is in full.
        return self.conv_last(x.float())

    def shape(self):
        """What a checkpoint must agree on to be loaded."""
        return {"scale": self.scale, "feat": self.feat, "blocks": self.blocks, "grow": self.grow}

    def start(self, seed):
        """First weights: small random ones, plus a path that repeats the pixels.

        The path (one tap of 1 for each colour) makes the untrained net a
        nearest-neighbour resizer, which saves it the first few hundred steps.
        """
        made = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for conv in (m for m in self.modules() if isinstance(m, Conv)):
                std = 0.1 * (2.0 / (conv.in_channels * 9)) ** 0.5
                conv.weight.copy_(torch.randn(conv.weight.shape, generator=made) * std)
                conv.bias.zero_()
            path = [getattr(self, f"conv_up{i + 1}") for i in range(self.doublings)]
            for colour in range(3):
                # A folded picture is carried by the mean of its folded pixels.
                n = self.fold ** 2
                self.conv_first.weight[colour, colour * n:(colour + 1) * n, 1, 1] += 1.0 / n
                for conv in path + [self.conv_hr, self.conv_last]:
                    conv.weight[colour, colour, 1, 1] += 1.0


def export(state, path, half):
    """Write weights as the common tools expect them: {'params_ema': OrderedDict}."""
    kind = torch.float16 if half else torch.float32
    out = OrderedDict((k, v.detach().to("cpu", kind).contiguous().clone()) for k, v in state.items())
    # Through a file object, or the names within would hold that of the file.
    with open(path, "wb") as f:
        torch.save({"params_ema": out}, f)


def load_exported(path):
    """Read weights written by export, or by a tool that writes the same layout."""
    data = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("params_ema", "params"):
        if key in data:
            data = data[key]
            break
    return OrderedDict((k, v.float()) for k, v in data.items())


def shape_of(state):
    """Find the shape of a net from its weights alone."""
    fold = {3: 1, 12: 2, 48: 4}[state["conv_first.weight"].shape[1]]
    scale = {2: 2, 4: 1}.get(fold, 8 if "conv_up3.weight" in state else 4)
    return {"scale": scale, "feat": state["conv_first.weight"].shape[0],
            "blocks": 1 + max(int(k.split(".")[1]) for k in state if k.startswith("body.")),
            "grow": state["body.0.rdb1.conv1.weight"].shape[0]}

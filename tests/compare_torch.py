#!/usr/bin/env python3
"""
The hooks of examples/hooks on PyTorch modules, right and deliberately broken, against `esrgan
compare`.  Needs PyTorch; `make check-compare-torch` runs it.

Three modules compute the same network: with functions only (tests/golden/rrdbnet.py), with modules
as BasicSR writes them (one in-place LeakyReLU used everywhere), and as nested nn.Sequential with
the numbers of old ESRGAN.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "golden"), os.path.join(HERE, "..", "examples", "hooks")]
from esrgan_trace_hooks import Trace  # noqa: E402
from rrdbnet import RRDBNet  # noqa: E402

ESRGAN = os.path.join(os.environ.get("BUILD", "build"), "esrgan")
CASES = os.path.join(HERE, "golden", "cases")


class Dense(nn.Module):
    def __init__(self, features, growth):
        super().__init__()
        for k in range(1, 6):
            setattr(self, f"conv{k}", nn.Conv2d(features + (k - 1) * growth,
                                                growth if k < 5 else features, 3, 1, 1))
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)
        self.scale = 0.2

    def forward(self, x):
        x1 = self.lrelu(self.conv1(x))
        x2 = self.lrelu(self.conv2(torch.cat((x, x1), 1)))
        x3 = self.lrelu(self.conv3(torch.cat((x, x1, x2), 1)))
        x4 = self.lrelu(self.conv4(torch.cat((x, x1, x2, x3), 1)))
        return self.conv5(torch.cat((x, x1, x2, x3, x4), 1)) * self.scale + x


class Residual(nn.Module):
    def __init__(self, features, growth):
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (Dense(features, growth) for _ in range(3))

    def forward(self, x):
        return self.rdb3(self.rdb2(self.rdb1(x))) * 0.2 + x


class Modules(nn.Module):
    def __init__(self, features=8, growth=4, blocks=1):
        super().__init__()
        self.conv_first = nn.Conv2d(3, features, 3, 1, 1)
        self.body = nn.Sequential(*(Residual(features, growth) for _ in range(blocks)))
        for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
            setattr(self, name, nn.Conv2d(features, features, 3, 1, 1))
        self.conv_last = nn.Conv2d(features, 3, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(0.2, inplace=True)
        self.mode = "nearest"

    def enlarge(self, x):
        more = {} if self.mode == "nearest" else {"align_corners": False}
        return F.interpolate(x, scale_factor=2, mode=self.mode, **more)

    def forward(self, x):
        x = self.conv_first(x)
        x = x + self.conv_body(self.body(x))
        x = self.lrelu(self.conv_up1(self.enlarge(x)))
        x = self.lrelu(self.conv_up2(self.enlarge(x)))
        return self.conv_last(self.lrelu(self.conv_hr(x)))


class Shortcut(nn.Module):
    def __init__(self, sub):
        super().__init__()
        self.sub = sub

    def forward(self, x):
        return x + self.sub(x)


def conv_block(a, b, act=True):
    return nn.Sequential(nn.Conv2d(a, b, 3, 1, 1), *([nn.LeakyReLU(0.2, inplace=True)] if act else []))


class OldDense(nn.Module):
    def __init__(self, nf, gc):
        super().__init__()
        for k in range(1, 6):
            setattr(self, f"conv{k}", conv_block(nf + (k - 1) * gc, gc if k < 5 else nf, k < 5))

    def forward(self, x):
        values = [x]
        for k in range(1, 5):
            values.append(getattr(self, f"conv{k}")(torch.cat(values, 1)))
        return self.conv5(torch.cat(values, 1)) * 0.2 + x


class OldBlock(nn.Module):
    def __init__(self, nf, gc):
        super().__init__()
        self.RDB1, self.RDB2, self.RDB3 = (OldDense(nf, gc) for _ in range(3))

    def forward(self, x):
        return self.RDB3(self.RDB2(self.RDB1(x))) * 0.2 + x


class Old(nn.Module):
    """The module tree of old ESRGAN: model.0, model.1.sub.I, model.2 ..."""

    def __init__(self, nf=8, gc=4, blocks=1):
        super().__init__()
        trunk = nn.Sequential(*(OldBlock(nf, gc) for _ in range(blocks)), nn.Conv2d(nf, nf, 3, 1, 1))
        tail = []
        for _ in range(2):
            tail += [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(nf, nf, 3, 1, 1),
                     nn.LeakyReLU(0.2, inplace=True)]
        self.model = nn.Sequential(nn.Conv2d(3, nf, 3, 1, 1), Shortcut(trunk), *tail,
                                   nn.Conv2d(nf, nf, 3, 1, 1), nn.LeakyReLU(0.2, inplace=True),
                                   nn.Conv2d(nf, 3, 3, 1, 1))

    def forward(self, x):
        return self.model(x)


# ---- Faults

class Wrongly(nn.Module):
    """A module whose result is changed."""

    def __init__(self, module, change):
        super().__init__()
        self.module, self.change = module, change

    def forward(self, x):
        return self.change(self.module(x))


def no_lrelu(net):
    net.body[0].rdb2.lrelu = nn.Identity()


def slope(net):
    net.lrelu.negative_slope = 0.1


def no_bias(net):
    with torch.no_grad():
        net.body[0].rdb3.conv5.bias.zero_()


def no_scale(net):
    net.body[0].rdb1.scale = 1.0


def reflect(net):
    net.conv_body.padding_mode = "reflect"
    net.conv_body._reversed_padding_repeated_twice = (1, 1, 1, 1)


def replicate(net):
    net.conv_hr.padding_mode = "replicate"
    net.conv_hr._reversed_padding_repeated_twice = (1, 1, 1, 1)


def bilinear(net):
    net.mode = "bilinear"


def weight_transposed(net):
    with torch.no_grad():
        net.conv_up1.weight.copy_(net.conv_up1.weight.transpose(2, 3).clone())


def strides(net):
    """The bug of the original case, for the input of a convolution: CHW read as HWC."""
    def hook(module, inputs):
        x = inputs[0]
        n, c, h, w = x.shape
        return (x.contiguous().view(n, h, w, c).permute(0, 3, 1, 2).contiguous(),)
    net.conv_first.register_forward_pre_hook(hook)


FAULTS = [  # change, first wrong value, causes that will do
    (no_lrelu, "body.0.rdb2.conv2.pre", ("input-missing", "activation-skipped")),
    (slope, "conv_up1.act", ("wrong-slope",)),
    (no_bias, "body.0.rdb3.conv5", ("bias-missing",)),
    (no_scale, "body.0.rdb1", ("residual-scale-missing",)),
    (reflect, "conv_body", ("reflect-padding",)),
    (replicate, "conv_hr.pre", ("replicate-padding",)),
    (bilinear, "up1.nearest", ("nearest-is-bilinear",)),
    (weight_transposed, "conv_up1.pre", ("kernel-transposed",)),
    (strides, "conv_first", ("chw-as-hwc",)),
]

failures = []


def check(condition, text):
    print("ok    " if condition else "FAILED", text)
    if not condition:
        failures.append(text)


def compare(reference, test, model, *more):
    done = subprocess.run([ESRGAN, "compare", "--json", reference, test, "--model", model, *more],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    if done.returncode == 2:
        return 2, {"verdict": done.stderr.decode()}
    return done.returncode, json.loads(done.stdout)


def weights(name):
    state = torch.load(os.path.join(CASES, name + ".pth"))
    return state.get("params_ema", state)


def main():
    torch.manual_seed(1)
    work = tempfile.mkdtemp(prefix="esrgan-hooks.")
    path = os.path.join(CASES, "basicsr-x4.pth")
    state = weights("basicsr-x4")
    features, growth = state["conv_first.weight"].shape[0], state["body.0.rdb1.conv1.weight"].shape[0]
    blocks = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("body."))
    x = torch.nn.functional.interpolate(torch.rand(1, 3, 5, 5), size=(20, 20), mode="bicubic",
                                        align_corners=False).clamp(0, 1)
    source = os.path.join(work, "in.npy")
    np.save(source, x.numpy())
    reference = os.path.join(work, "reference")
    subprocess.run([ESRGAN, "trace", path, source, "-o", reference, "-p", "f64", "-q"], check=True)

    def make(kind=Modules):
        net = kind(features, growth, blocks) if kind is Modules else kind(
            features=features, blocks=blocks, growth=growth)
        net.load_state_dict(state)
        return net.eval()

    def traced(net, name, **options):
        target = os.path.join(work, name)
        with torch.no_grad(), Trace(target, net, **options):
            net(x)
        return target

    # Healthy: every value recomputed, none away; nothing unknown.
    for name, net in (("modules", make()), ("functions.npz", make(RRDBNet))):
        status, result = compare(reference, traced(net, name), path)
        local = sum("local_max" in layer for layer in result.get("layers", []))
        check(status == 0 and local >= 25 and not any("unknown" in n for n in result["notes"]),
              f"{name}: healthy, {local} values recomputed; {result['verdict']} {result.get('notes')}")
    status, result = compare(reference, traced(make(), "stats", stats_only=True), path)
    check(status == 0, f"statistics alone: {result['verdict']}")
    some = traced(make(), "some", layers=["input", "body.*", "conv_last"])
    status, result = compare(reference, some, path)
    check(status == 0, f"some layers: {result['verdict']}")

    # The tree of old ESRGAN, its own names.
    state_old = weights("esrgan-4x")
    old_path = os.path.join(CASES, "esrgan-4x.pth")
    nf, gc = state_old["model.0.weight"].shape[0], state_old["model.1.sub.0.RDB1.conv1.0.weight"].shape[0]
    count = max(int(k.split(".")[3]) for k in state_old if k.startswith("model.1.sub."))
    old = Old(nf, gc, count)
    old.load_state_dict(state_old)
    old_reference = os.path.join(work, "old-reference.npz")
    subprocess.run([ESRGAN, "trace", old_path, source, "-o", old_reference, "-q", "-b", "openblas"], check=True)
    status, result = compare(old_reference, traced(old.eval(), "old"), old_path)
    local = sum("local_max" in layer for layer in result.get("layers", []))
    check(status == 0 and local >= 25, f"old ESRGAN's names: {local} values recomputed; {result['verdict']} {result.get('notes')}")

    # A picture's worth of float64 from PyTorch is the oracle's own.
    double = make().double()
    x64, target = x.double(), os.path.join(work, "double")
    with torch.no_grad(), Trace(target, double):
        double(x64)
    status, result = compare(reference, target, path)
    largest = max(layer.get("max", 0) for layer in result["layers"] if layer["name"] != "output.u8")
    check(status == 0 and largest < 1e-12, f"float64 against float64: {largest:.1e}")

    # Broken.
    for change, culprit, causes in FAULTS:
        net = make()
        change(net)
        status, result = compare(reference, traced(net, change.__name__), path)
        check(status == 1 and result["culprit"] == culprit and result["cause"] in causes,
              f"{change.__name__}: {result.get('culprit')}, {result.get('cause')}; "
              f"{result['verdict'][:160]}")
    # Statistics alone: where it begins, and what to dump to know why.
    net = make()
    bilinear(net)
    status, result = compare(reference, traced(net, "stats-broken.npz", stats_only=True), path)
    check(status == 1 and result["culprit"] == "up1.nearest" and
          result["next_dump"] == "up1.nearest, trunk_sum",
          f"statistics of a broken run: {result['verdict']}")
    subprocess.run(["rm", "-rf", work], check=True)
    print(f"{len(failures)} failed" if failures else "all good")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

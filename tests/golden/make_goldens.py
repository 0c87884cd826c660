#!/usr/bin/env python3
"""
Makes tests/golden: small networks saved by PyTorch in every way that is met, with an input and
what PyTorch makes of it.  See README.md beside it.

    make_goldens.py          writes every case anew
    make_goldens.py --check  computes every case and compares with what is there
"""
import argparse
import collections
import datetime
import io
import os
import sys
import zipfile

import numpy as np
import torch

from rrdbnet import RRDBNet, randomise, rename

HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
# How far another PyTorch may be, as a share of the largest value: input, then as TYPES.  In the
# half types a sum in another order turns a rounding around now and then.
TOLERANCES = (0, 1e-12, 1e-5, 4 * 2**-11, 4 * 2**-8)

Case = collections.namedtuple("Case", "name net layout size dtype wrap save wrapper")


def bare(state, net):
    return state


def under(*names):
    return lambda state, net: {name: state for name in names}


def ema_and_params(state, net):
    """Two sets of weights: params_ema is the one to take."""
    return {"params": {k: v * 0.5 for k, v in state.items()}, "params_ema": state}


def params_asked_for(state, net):
    return {"params": state, "params_ema": {k: v * 0.5 for k, v in state.items()}}


def prefixed(prefix):
    return lambda state, net: {"state_dict": {prefix + k: v for k, v in state.items()}}


def training(state, net):
    """A checkpoint in the middle of a training, with everything that people put into one."""
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-4)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimiser.step()
    moments = optimiser.state_dict()
    moments["state"] = {0: moments["state"][0]}  # the rest is more of the same
    return {
        "epoch": 7, "loss": np.float64(0.25), "when": datetime.datetime(2024, 5, 6, 7, 8, 9),
        "args": argparse.Namespace(lr=1e-4, name="x4", sizes=(128, 32)),
        "rng": np.arange(5), "optimizer": moments,
        "scheduler": {"milestones": collections.Counter([5, 5]), "done": False, "last": None},
        "model_state_dict": state, "shape": torch.Size([1, 3, 4, 4]), "set": {1, 2},
    }


def sliced(state, net):
    """Weights that are views with strides of their own."""
    out = collections.OrderedDict()
    for i, (key, v) in enumerate(state.items()):
        if v.dim() == 4 and i % 3 == 0:  # stored with the channels turned around
            v = v.transpose(0, 1).contiguous().transpose(0, 1)
        elif v.dim() == 4 and i % 3 == 1:
            v = v.contiguous(memory_format=torch.channels_last)
        elif v.dim() == 4:  # every second column of something larger, from an offset on
            large = torch.full((v.shape[0] + 1, v.shape[1], 3, 6), 9.0, dtype=v.dtype)
            large[1:, :, :, ::2] = v
            v = large[1:, :, :, ::2]
        elif i % 4 == 1:
            v = torch.stack((v, -v), 1)[:, 0]
        out[key] = v
    return out


def expanded(state, net):
    """Stride 0: a bias that is one number for all channels, as nn.Module state after expand()."""
    out = collections.OrderedDict(state)
    for key, p in net.named_parameters():
        if key == "conv_body.bias":
            with torch.no_grad():
                p.fill_(0.125)
            out[key] = torch.tensor([0.125]).expand(p.shape[0])
    return out


def one_storage(state, net):
    """All weights are pieces of one storage, in the opposite order."""
    flat = torch.cat([v.reshape(-1) for v in reversed(list(state.values()))])
    out, end = collections.OrderedDict(), flat.numel()
    for key, v in state.items():
        out[key] = flat[end - v.numel():end].view(v.shape)
        end -= v.numel()
    return out


def coarsen(net):
    """Two bits after the first and the same dense block three times: a wide network in a small file."""
    with torch.no_grad():
        for p in net.parameters():
            mantissa, exponent = torch.frexp(p)
            p.copy_(torch.ldexp(torch.round(mantissa * 8) / 8, exponent))
    for block in net.body:
        block.rdb2.load_state_dict(block.rdb1.state_dict())
        block.rdb3.load_state_dict(block.rdb1.state_dict())


def tied(state, net):
    """Dense blocks that are one and the same tensors, as torch.save keeps them."""
    out = collections.OrderedDict()
    for key, v in state.items():
        for other in (".rdb2.", ".rdb3."):
            v = state[key.replace(other, ".rdb1.")] if other in key else v
        out[key] = v
    return {"params": out}


def parameters(state, net):
    return collections.OrderedDict((k, torch.nn.Parameter(v)) for k, v in state.items())


def mixed_types(state, net):
    kinds = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    return collections.OrderedDict(
        (k, v.to(kinds[i % 4])) for i, (k, v) in enumerate(state.items()))


def zipped(data, file, protocol=2):
    torch.save(data, file, pickle_protocol=protocol)


def protocol(number):
    return lambda data, file: zipped(data, file, number)


def legacy(data, file):
    torch.save(data, file, _use_new_zipfile_serialization=False)


def deflated(data, file):
    """As somebody re-zips a checkpoint: deflated, unaligned, the folder renamed."""
    plain = io.BytesIO()
    torch.save(data, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            name = "RealESRGAN x4/" + entry.filename.split("/", 1)[1]
            new.writestr(zipfile.ZipInfo(name), old.read(entry), zipfile.ZIP_DEFLATED)


def cases():
    all_cases = []

    def case(name, layout="basicsr", size=(1, 3, 5), dtype=torch.float32, wrap=under("params_ema"),
             save=zipped, wrapper="-", **net):
        options = dict(features=5, growth=2, blocks=1)
        options.update(net)
        all_cases.append(Case(name, options, layout, size, dtype, wrap, save, wrapper))

    # Layouts and numbers of stages
    case("basicsr-x4", blocks=2, features=8, growth=4, size=(1, 5, 7))
    case("bsrgan-x4", layout="bsrgan", wrap=bare, save=legacy)
    case("esrgan-1x", layout="esrgan", wrap=bare, save=legacy, ups=0)
    case("esrgan-2x", layout="esrgan", wrap=bare, ups=1)
    case("esrgan-3x", layout="esrgan", wrap=bare, ups=1, up_factor=3, size=(1, 4, 3))
    case("esrgan-4x", layout="esrgan", wrap=bare, save=legacy, blocks=2, size=(1, 4, 4))
    case("esrgan-8x", layout="esrgan", wrap=bare, ups=3, size=(1, 3, 2))
    case("bsrgan-2x", layout="bsrgan", wrap=bare, ups=1)
    case("mixed-blocks", layout="mixed-blocks", wrap=bare, save=legacy)
    case("mixed-tail", layout="mixed-tail", wrap=bare)
    case("x2plus", unshuffle=2, size=(1, 6, 10))
    case("x1", unshuffle=4, size=(1, 8, 12))
    case("plus", plus=True)
    case("plus-old", layout="esrgan", plus=True, wrap=bare, save=legacy, size=(1, 4, 4))
    case("grey", channels_in=1, channels_out=1)
    case("grey-x2plus", channels_in=1, channels_out=1, unshuffle=2, size=(1, 4, 6))
    case("alpha-in", channels_in=4, size=(1, 3, 5))
    case("odd-widths", features=7, growth=5, size=(1, 4, 3), dtype=torch.float16)
    case("wider", features=16, growth=8, dtype=torch.float16, size=(1, 6, 5))
    case("unbalanced", features=3, growth=8, dtype=torch.bfloat16, size=(1, 4, 5))
    # Sizes
    case("pixel", size=(1, 1, 1))
    case("row", size=(1, 1, 19), ups=1)
    case("column", size=(1, 19, 1), ups=1)
    case("batch", size=(3, 3, 4), features=4, growth=2)
    small = dict(features=3, growth=2, size=(1, 4, 5), ups=1)
    # Types, containers, protocols
    case("float16", dtype=torch.float16, wrap=bare)
    case("bfloat16", dtype=torch.bfloat16)
    case("float64", dtype=torch.float64, features=4)
    case("float16-legacy", dtype=torch.float16, wrap=bare, save=legacy)
    case("mixed-types", wrap=mixed_types, features=5, growth=3)
    case("deflated", save=deflated)
    case("protocol4", save=protocol(4), **small)
    case("protocol5", save=protocol(5), **small)
    # What weights are wrapped in
    case("params", wrap=under("params"), **small)
    case("params-ema-first", wrap=ema_and_params, **small)
    case("params-asked-for", wrap=params_asked_for, wrapper="params", **small)
    case("state-dict", wrap=under("state_dict"), save=legacy, **small)
    case("model", wrap=under("model"), **small)
    case("module-prefix", wrap=prefixed("module."), **small)
    case("compiled-prefix", wrap=prefixed("_orig_mod."), **small)
    case("training", wrap=training, **small)
    case("training-legacy", wrap=training, save=legacy, **small)
    case("parameters", wrap=parameters, **small)
    # How tensors lie
    case("strides", wrap=sliced, **small)
    case("strides-legacy", wrap=sliced, save=legacy, **small)
    case("expanded", wrap=expanded, **small)
    case("one-storage", wrap=one_storage, **small)
    case("one-storage-legacy", wrap=one_storage, save=legacy, dtype=torch.float16, **small)
    # Channels in full vectors of every instruction set
    case("wide", wrap=tied, save=deflated, dtype=torch.float16, features=32, growth=32, ups=0,
         size=(1, 9, 14))
    return all_cases


def build(seed, case):
    """The network with weights exact in its type, and its input."""
    net = randomise(RRDBNet(**case.net), seed)
    if case.wrap is tied:
        coarsen(net)
    if case.wrap is mixed_types:
        net.load_state_dict({k: v.float() for k, v in mixed_types(net.state_dict(), net).items()})
    else:
        net = net.to(case.dtype)
    generator = torch.Generator().manual_seed(1000 + seed)
    n, height, width = case.size
    x = torch.rand((n, case.net.get("channels_in", 3), height, width), generator=generator)
    return net, x


def state_of(case, net):
    """What goes into the file (may change the network's weights: see expanded)."""
    state = collections.OrderedDict(net.state_dict())
    wrapped_early = case.wrap in (expanded,)
    if wrapped_early:
        state = case.wrap(state, net)
    state = rename(state, case.layout, case.net.get("ups", 2))
    return state if wrapped_early else case.wrap(state, net)


def arrays(net, x):
    """Input, then the outputs: float64, float32, float16, and bfloat16 as its bits."""
    exact = net.double() if net.conv_first.weight.dtype == torch.float64 else net.float()
    yield x.numpy()
    for dtype in TYPES:
        out = exact.reference(x, dtype)
        yield out.view(torch.int16).numpy().view(np.uint16) if dtype == torch.bfloat16 else out.numpy()


def widened(a):
    """To double; bits of bfloat16 are the upper half of a float32."""
    if a.dtype == np.uint16:
        a = (a.astype(np.uint32) << 16).view(np.float32)
    return a.astype(np.float64)


def main():
    torch.set_num_threads(1)
    check = "--check" in sys.argv[1:]
    manifest, worst = [], [0.0] * len(TOLERANCES)
    for seed, case in enumerate(cases()):
        net, x = build(seed, case)
        path = os.path.join(HERE, "cases", case.name)
        state = state_of(case, net)
        manifest.append(f"{case.name} {case.wrapper} {case.net.get('up_factor', 0)}\n")
        if check:
            with open(path + ".npy", "rb") as file:
                for i, a in enumerate(arrays(net, x)):
                    a, b = widened(a), widened(np.load(file))
                    worst[i] = max(worst[i], float(np.abs(a - b).max() / np.abs(b).max()))
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".pth", "wb") as file:
            case.save(state, file)
        with open(path + ".npy", "wb") as file:
            for a in arrays(net, x):
                np.save(file, a)
    if check:
        print(f"{len(manifest)} cases, largest differences", *(f"{w:.1e}" for w in worst))
        sys.exit(any(w > t for w, t in zip(worst, TOLERANCES)))
    with open(os.path.join(HERE, "cases.txt"), "w") as file:
        file.write("".join(manifest))


if __name__ == "__main__":
    main()

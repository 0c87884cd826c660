#!/usr/bin/env python3
"""
Full-size networks with random weights: the built command against live PyTorch.

    check_torch.py build/esrgan [MODEL ...]     models: x4plus x2plus anime_6B

Each line says what ran and how far it is from PyTorch, as a share of the largest value.
float32 must be within 1e-5 of PyTorch.  float16 and bfloat16 are held against the distance e that
a PyTorch model of that type has from the truth (float64), root of the mean square: within 1.5 e of
PyTorch, and within 1.25 e of the truth.
"""
import collections
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "golden"))
from rrdbnet import RRDBNet, randomise, rename  # noqa: E402

MODELS = {
    "x4plus": dict(blocks=23),
    "x2plus": dict(blocks=23, unshuffle=2),
    "anime_6B": dict(blocks=6),
}
HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}
FP32_BOUND = 1e-5
FP64_BOUND = 1.01 * 2**-24  # the result is handed over in float32
HALF_FROM_TORCH, HALF_FROM_TRUTH = 1.5, 1.25


class Check:
    def __init__(self, command, folder):
        self.command, self.folder, self.failures = command, folder, 0

    def run(self, *arguments):
        done = subprocess.run([self.command, *arguments], capture_output=True, text=True,
                              timeout=900)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(done.args)}: exit {done.returncode}: {done.stderr}")
        return done.stdout

    def part(self, function, *arguments):
        """A command that fails is one failure; the other parts still run."""
        try:
            function(self, *arguments)
        except (RuntimeError, subprocess.TimeoutExpired, OSError) as error:
            self.say(False, str(error))

    def forward(self, model, x, backend, precision):
        given, made = (os.path.join(self.folder, name) for name in ("in.npy", "out.npy"))
        np.save(given, x.numpy())
        self.run("forward", "-m", model, given, "-o", made, "--backend", backend, "--precision",
                 precision, "-q")
        out = np.load(made)
        os.remove(made)
        return torch.from_numpy(out).double()

    def say(self, good, text):
        self.failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {text}", flush=True)

    def close(self, what, out, torch_out, bound=FP32_BOUND):
        if out.shape != torch_out.shape:
            self.say(False, f"{what}: shape {tuple(out.shape)}, not {tuple(torch_out.shape)}")
            return
        error = float((out - torch_out).abs().max() / torch_out.abs().max())
        self.say(error <= bound, f"{what}: {error:.2e}")

    def half(self, what, out, torch_out, truth):
        e = rms(torch_out - truth)
        to_torch, to_truth = rms(out - torch_out) / e, rms(out - truth) / e
        self.say(to_torch <= HALF_FROM_TORCH and to_truth <= HALF_FROM_TRUTH,
                 f"{what}: from PyTorch {to_torch:.3f} e, from the truth {to_truth:.3f} e, "
                 f"e = {e / float(truth.abs().max()):.2e}")


def rms(t):
    return float(t.pow(2).mean().sqrt())


def save(net, layout, container, path):
    state = rename(collections.OrderedDict(net.state_dict()), layout, net.ups)
    torch.save(state if container == "legacy" else {"params_ema": state}, path,
               _use_new_zipfile_serialization=container == "zip")


def sizes(net):
    """64x64, and an odd size, as odd as the network's forward takes it."""
    f = net.unshuffle
    yield 64, 64
    yield 37 // f * f, 51 // f * f


def layouts(check, name, net, outputs):
    """Every layout in both containers, at both sizes."""
    for layout in ("basicsr", "bsrgan", "esrgan"):
        for container in ("zip", "legacy"):
            path = os.path.join(check.folder, "model.pth")
            save(net, layout, container, path)
            for x, torch_out in outputs:
                out = check.forward(path, x, "openblas", "fp32")
                height, width = x.shape[2:]
                check.close(f"{name} {layout} {container} {width}x{height} openblas fp32", out,
                           torch_out)


def backends(check, name, net, path, outputs):
    """The best backend at full size; all of them and every precision on a small picture."""
    for x, torch_out in outputs:
        height, width = x.shape[2:]
        check.close(f"{name} {width}x{height} auto fp32", check.forward(path, x, "auto", "fp32"),
                    torch_out)
    large = outputs[0][0]
    halves(check, name, net, path, large, ("auto",), net.reference(large, torch.float64))
    small = large[:, :, :12, :16].contiguous()
    truth = net.reference(small, torch.float64)
    everything = ("reference", "openblas", "auto")
    for backend in everything:
        check.close(f"{name} 16x12 {backend} fp32, from the truth",
                    check.forward(path, small, backend, "fp32"), truth)
    check.close(f"{name} 16x12 reference fp64, from the truth",
                check.forward(path, small, "reference", "fp64"), truth, FP64_BOUND)
    halves(check, name, net, path, small, everything, truth)


def halves(check, name, net, path, x, which, truth):
    height, width = x.shape[2:]
    for precision, dtype in HALVES.items():
        torch_out = net.reference(x, dtype).double()
        for backend in which:
            check.half(f"{name} {width}x{height} {backend} {precision}",
                       check.forward(path, x, backend, precision), torch_out, truth)


def picture(check, name, net, path):
    """A picture of odd size in 8 bits: padded by reflection, cropped, rounded to nearest."""
    generator = torch.Generator().manual_seed(5)
    pixels = torch.randint(0, 256, (37, 51, 3), generator=generator, dtype=torch.uint8)
    given, made = (os.path.join(check.folder, n) for n in ("in.png", "made.png"))
    Image.fromarray(pixels.numpy()).save(given)
    check.run("upscale", "-m", path, given, "-o", made, "--backend", "openblas", "-q")
    f = net.unshuffle
    x = pixels.permute(2, 0, 1)[None].float() / 255
    x = torch.nn.functional.pad(x, (0, -51 % f, 0, -37 % f), "reflect")
    scale = 2**net.ups // f
    expected = net.reference(x, torch.float32)[0, :, :37 * scale, :51 * scale].permute(1, 2, 0)
    expected = (expected.clamp(0, 1) * 255).round()
    spread = float(expected.std())
    out = torch.from_numpy(np.array(Image.open(made))).float()
    if out.shape != expected.shape:
        check.say(False, f"{name} picture: shape {tuple(out.shape)}, not {tuple(expected.shape)}")
        return
    off = (out - expected).abs()
    check.say(float(off.max()) <= 1 and float((off > 0).float().mean()) < 1e-3 and spread > 10,
              f"{name} picture 51x37 (spread {spread:.0f} of 255): most off {int(off.max())}, "
              f"{int((off > 0).sum())} of {off.numel()} samples")


def into_view(net, x):
    """Scales the last convolution so that the output lies about 0.5: a picture."""
    with torch.no_grad():
        out = net(x)
        net.conv_last.weight *= 0.2 / float(out.std())
        net.conv_last.bias.fill_(0.5)


def main():
    command = os.path.abspath(sys.argv[1])
    names = sys.argv[2:] or list(MODELS)
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        check = Check(command, folder)
        for seed, name in enumerate(names):
            net = randomise(RRDBNet(**MODELS[name]), seed)
            generator = torch.Generator().manual_seed(seed)
            into_view(net, torch.rand((1, 3, 32, 32), generator=generator))
            inputs = [torch.rand((1, 3, *size), generator=generator) for size in sizes(net)]
            outputs = [(x, net.reference(x, torch.float32).double()) for x in inputs]
            path = os.path.join(folder, "plain.pth")
            save(net, "basicsr", "zip", path)
            check.part(layouts, name, net, outputs)
            check.part(backends, name, net, path, outputs)
            check.part(picture, name, net, path)
    print(f"{check.failures} failures, {time.time() - start:.0f} s")
    sys.exit(check.failures > 0)


if __name__ == "__main__":
    main()

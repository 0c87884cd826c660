"""
Writes what a PyTorch model computes on the way, in the layout that `esrgan compare` reads: .npy
files and manifest.json, in a folder or in one .npz.  Works on any torch.nn.Module, on any device.

    from esrgan_trace_hooks import Trace

    with Trace("mps-trace", model):                       # or "mps-trace.npz"
        model(x.to("mps"))

    $ esrgan trace MODEL.pth in.png -o reference          # the same input, right
    $ esrgan compare reference mps-trace --model MODEL.pth --html report.html

Every value is copied to the CPU at the moment it comes into being, so what an in-place activation
does to it later is not seen.  Values get the names of the modules that made them; activations,
enlarging and pixel-unshuffle, which models call as functions or by one shared module, are named
after the convolution before them ("body.0.rdb1.conv1.act", "up1.nearest", "unshuffle").

Needs torch and numpy; the trace costs a copy of each value and the disk.  SPDX-License-Identifier: MIT
"""
import fnmatch
import json
import math
import os
import zipfile

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SAMPLES = 1024
ACTIVATIONS = ("leaky_relu", "leaky_relu_", "relu", "relu_", "prelu")


def sample_positions(count):
    """Where samples are taken: one in each of 1024 equal pieces, the same in every trace."""
    if count <= SAMPLES:
        return np.arange(count)
    k = np.arange(SAMPLES, dtype=np.uint64)
    piece = np.uint64(count // SAMPLES)
    jitter = ((k * np.uint64(2654435761) & np.uint64(0xFFFFFFFF)) * piece) >> np.uint64(32)
    return (k * np.uint64(count) // np.uint64(SAMPLES) + jitter).astype(np.int64)


def statistics(array):
    """Minimum, maximum, mean, rms, NaN and Inf counted, a hash of the bits, samples."""
    flat = array.ravel()
    finite = flat[np.isfinite(flat)].astype(np.float64)
    words = flat.view("<u2" if flat.itemsize == 2 else "<u4").astype(np.uint32)
    places = np.arange(words.size, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    value = int((words * places).sum(dtype=np.uint32)) << 32 | int(words.sum(dtype=np.uint32))

    def number(x):
        x = float(x)
        return x if math.isfinite(x) else repr(x)

    return {
        "min": number(finite.min()) if finite.size else "nan",
        "max": number(finite.max()) if finite.size else "nan",
        "mean": number(finite.mean()) if finite.size else "nan",
        "rms": number(math.sqrt((finite * finite).mean())) if finite.size else "nan",
        "nan": int(np.isnan(flat).sum()), "inf": int(np.isinf(flat).sum()),
        "hash": f"{value:016x}",
        "samples": [number(v) for v in flat[sample_positions(flat.size)]],
    }


class Writer:
    """A folder of files, or one stored .npz."""

    def __init__(self, path):
        self.path, self.zip = path, None
        if path.endswith(".npz"):
            self.zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True)
        else:
            os.makedirs(path, exist_ok=True)

    def open(self, name):
        if self.zip:
            return self.zip.open(name, "w", force_zip64=True)
        return open(os.path.join(self.path, name), "wb")

    def array(self, name, array):
        with self.open(name) as file:
            np.lib.format.write_array(file, array, allow_pickle=False)

    def close(self, manifest):
        with self.open("manifest.json") as file:
            file.write(json.dumps(manifest, indent=1).encode())
        if self.zip:
            self.zip.close()


class Trace:
    """Hooks a model while the `with` block runs; the model is called inside it, once.

    path        folder, or name.npz
    layers      only values whose name matches this glob (or one of these globs)
    stats_only  statistics and samples in place of the data
    rename      function from a module's path to the name to write
    """

    def __init__(self, path, model, layers=None, stats_only=False, rename=None):
        self.model, self.stats_only = model, stats_only
        self.layers = [layers] if isinstance(layers, str) else layers
        self.rename = rename or (lambda name: name)
        self.writer = Writer(path)
        self.values, self.seen, self.handles, self.saved = [], set(), [], {}
        self.inside, self.last, self.enlarged = 0, None, 0
        self.by_weight = {id(m.weight): name for name, m in model.named_modules()
                          if isinstance(m, nn.Conv2d)}

    # ---- What is written

    def keep(self, name, op, tensor):
        """Copies one value out and writes it.  Of a name that comes again the first is kept."""
        name = self.rename(name)
        if not torch.is_tensor(tensor) or tensor.dim() not in (3, 4) or name in self.seen:
            return
        if self.layers and not any(fnmatch.fnmatchcase(name, glob) for glob in self.layers):
            return
        self.seen.add(name)
        value = {"index": len(self.values), "name": name, "op": op, "shape": list(tensor.shape),
                 "dtype": str(tensor.dtype).replace("torch.", ""), "device": str(tensor.device),
                 "strides": list(tensor.stride())}
        copy = tensor.detach().to("cpu", copy=True)
        if copy.dtype not in (torch.float16, torch.float32, torch.float64):
            copy = copy.float()
        array = np.ascontiguousarray(copy.contiguous().numpy())
        if not self.stats_only:
            value["file"] = name.replace("/", "_") + ".npy"
            self.writer.array(value["file"], array)
        value["stats"] = statistics(array)
        self.values.append(value)

    # ---- Where it comes from

    def before_conv(self, name, tensor):
        if self.last is None and name != "" and tensor.shape[1] != self.channels:
            self.keep("unshuffle", "unshuffle", tensor)
        if name.split(".")[-1] in ("conv_hr", "HRconv") and not self.enlarged:
            self.keep("trunk_sum", "add", tensor)

    def after_module(self, name, module):
        def hook(_, inputs, output):
            if isinstance(module, nn.Conv2d):
                self.inside -= 1
                self.last = name
                self.keep(name, "conv", output)
            elif not isinstance(module, (nn.Sequential, nn.ModuleList)):
                self.keep(name, type(module).__name__, output)

        return hook

    def before_module(self, name, module):
        def hook(_, inputs):
            if isinstance(module, nn.Conv2d):
                self.inside += 1
                self.before_conv(name, inputs[0])

        return hook

    def wrap(self, name, function):
        def activation(x, *arguments, **more):
            result = function(x, *arguments, **more)
            if self.last is not None:
                self.keep(self.last + ".act", "lrelu", result)
            return result

        def conv2d(x, weight, *arguments, **more):
            path = None if self.inside else self.by_weight.get(id(weight))
            if path is not None:
                self.before_conv(path, x)
            result = function(x, weight, *arguments, **more)
            if path is not None:
                self.last = path
                self.keep(path, "conv", result)
            return result

        def interpolate(x, *arguments, **more):
            if not self.enlarged:
                self.keep("trunk_sum", "add", x)
            self.enlarged += 1
            result = function(x, *arguments, **more)
            self.keep(f"up{self.enlarged}.nearest", "nearest", result)
            return result

        return {"conv2d": conv2d, "interpolate": interpolate}.get(name, activation)

    def before_model(self, _, inputs):
        self.channels = inputs[0].shape[1]
        self.keep("input", "input", inputs[0])

    def __enter__(self):
        self.channels = None
        self.handles.append(self.model.register_forward_pre_hook(self.before_model))
        for name, module in self.model.named_modules():
            if name and not isinstance(module, (nn.LeakyReLU, nn.ReLU, nn.PReLU, nn.Upsample)):
                self.handles.append(module.register_forward_pre_hook(self.before_module(name, module)))
                self.handles.append(module.register_forward_hook(self.after_module(name, module)))
        for name in ("conv2d", "interpolate") + ACTIVATIONS:
            self.saved[name] = getattr(F, name)
            setattr(F, name, self.wrap(name, self.saved[name]))
        return self

    def __exit__(self, kind, error, where):
        for handle in self.handles:
            handle.remove()
        for name, function in self.saved.items():
            setattr(F, name, function)
        parameter = next(self.model.parameters(), None)
        kinds = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float64: "fp64"}
        self.writer.close({
            "format": "esrgan-trace", "version": 1, "producer": f"PyTorch {torch.__version__}",
            "precision": kinds.get(getattr(parameter, "dtype", None), "fp32"),
            "backend": str(getattr(parameter, "device", "cpu")), "stats_only": self.stats_only,
            "values": self.values,
        })
        return False

"""Random checkpoints as PyTorch writes them, read by the library: every value must be equal.

usage: check_reader.py DUMP [FILES [SEED]]
"""
import argparse
import collections
import datetime
import hashlib
import io
import os
import random
import subprocess
import sys
import tempfile
import zipfile

import numpy
import torch

TYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32,
         torch.int16, torch.int8, torch.uint8, torch.bool]


def random_view(t):
    """Something else that looks at the same storage, or a copy with other strides."""
    kind = random.randrange(7)
    if kind == 0 and t.dim() > 1:
        return t.transpose(0, random.randrange(1, t.dim()))
    if kind == 1 and t.dim() > 0 and t.shape[0] > 1:
        return t[1:]
    if kind == 2 and t.dim() > 0 and t.shape[-1] > 1:
        return t[..., ::2]
    if kind == 3:
        return t.unsqueeze(0).expand([3] + list(t.shape))
    if kind == 4 and t.dim() == 4:
        return t.contiguous(memory_format=torch.channels_last)
    if kind == 5 and t.dim() > 0 and t.shape[0] > 0:
        return t[random.randrange(t.shape[0])]
    if kind == 6 and t.is_floating_point():
        return torch.nn.Parameter(t)
    return t


def random_tensor():
    shape = [random.randint(0 if random.random() < .1 else 1, 5)
             for _ in range(random.randint(0, 5))]
    t = (torch.randn(shape) * 50).to(random.choice(TYPES))
    for _ in range(random.randint(0, 3)):
        t = random_view(t)
    return t


def what_training_leaves():
    return {"epoch": 3, "args": argparse.Namespace(a=1), "when": datetime.datetime(2020, 1, 2),
            "optimizer": {"state": {0: {"step": torch.tensor(1.), "exp_avg": random_tensor()}},
                          "param_groups": [{"lr": 1e-3, "betas": (.9, .99), "params": [0]}]},
            "array": numpy.arange(5), "scalar": numpy.float32(3), "rng": torch.get_rng_state(),
            "bytes": b"bytes", "sets": ({1, 2}, frozenset([1])), "complex": 1 + 2j,
            "big": 1 << 80, "device": torch.device("cpu"), "dtype": torch.float32,
            "size": torch.Size([1, 2]), "ellipsis": ..., "slice": slice(1, 2)}


def repack(path, method):
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with open(path, "wb") as file:
        file.write(packed.getvalue())


def write(path):
    """Writes a checkpoint and returns the lines that are expected of it."""
    state = random.choice([dict, collections.OrderedDict])()
    for i in range(random.randint(1, 30)):
        again = bool(state) and random.random() < .2
        key = ("b\u00f6dy." if random.random() < .1 else "body.") + f"{i}.weight"
        state[key] = random.choice(list(state.values())) if again else random_tensor()
    prefix = random.choice(["", "module.", "_orig_mod.", "netG."])
    whole = type(state)((prefix + key, t) for key, t in state.items())
    wrapper = random.choice(["", "params", "params_ema", "state_dict", "net", "anything"])
    if wrapper:
        whole = {wrapper: whole}
    if wrapper in ("params", "params_ema", "state_dict"):
        whole.update(what_training_leaves())
    kind = random.choice(["legacy", "zip", "deflated", "stored"])
    torch.save(whole, path, pickle_protocol=random.choice([2, 2, 3, 4, 5]),
               _use_new_zipfile_serialization=kind != "legacy")
    if kind in ("deflated", "stored"):
        repack(path, zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED)
    lines = ["file " + wrapper]
    for key, t in state.items():
        values = t.detach().to(torch.float64).contiguous().numpy().tobytes()
        shape = "".join(f" {n}" for n in t.shape)
        digest = hashlib.sha256(values).hexdigest()
        lines.append(f"{key} {str(t.dtype)[len('torch.'):]}{shape} : {digest}")
    return lines


def main():
    dump = sys.argv[1]
    files = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    random.seed(seed)
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, f"{n}.pth") for n in range(files)]
        expected = [line for path in paths for line in write(path)]
        out = subprocess.run([dump] + paths, stdout=subprocess.PIPE, check=True).stdout
    got = out.decode().splitlines()
    for line, (a, b) in enumerate(zip(expected, got)):
        if a != b:
            sys.exit(f"line {line}: expected\n  {a}\ngot\n  {b}")
    if len(got) != len(expected):
        sys.exit(f"expected {len(expected)} lines, got {len(got)}")
    print(f"{files} random checkpoints, {len(got) - files} tensors: equal to PyTorch's")


main()

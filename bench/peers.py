"""Live peers: PyTorch on the same weights and the same picture.  Outputs first, times after."""
import json
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F


class Net:
    """RRDBNet by its state dict, in functional form."""

    def __init__(self, state):
        self.w = state
        self.blocks = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("body."))

    def conv(self, name, x):
        return F.conv2d(x, self.w[name + ".weight"], self.w[name + ".bias"], padding=1)

    def dense(self, name, x):
        values = [x]
        for k in range(1, 5):
            values.append(F.leaky_relu(self.conv(f"{name}.conv{k}", torch.cat(values, 1)), 0.2))
        return self.conv(f"{name}.conv5", torch.cat(values, 1)) * 0.2 + x

    def __call__(self, x):
        first = value = self.conv("conv_first", x)
        for i in range(self.blocks):
            inner = value
            for j in range(1, 4):
                inner = self.dense(f"body.{i}.rdb{j}", inner)
            value = inner * 0.2 + value
        value = first + self.conv("conv_body", value)
        for k in (1, 2):
            value = F.leaky_relu(self.conv(f"conv_up{k}", F.interpolate(value, scale_factor=2)), 0.2)
        return self.conv("conv_last", F.leaky_relu(self.conv("conv_hr", value), 0.2))


def main(command, folder):
    torch.set_num_threads(2)
    model = f"{folder}/x4plus.pth"
    state = torch.load(model)
    net = Net(state.get("params_ema", state.get("params", state)))
    print("\n### Peers, x4plus, FP32, two threads\n\n| size | esrgan s | PyTorch s | ratio | dB |\n| --- | --- | --- | --- | --- |")
    wrong = False
    for size in (64, 128, 256):
        rng = np.random.default_rng(size)
        x = rng.random((1, 3, size, size), dtype=np.float32)
        np.save(f"{folder}/in.npy", x)
        run = [command, "forward", "-m", model, f"{folder}/in.npy", "-o", f"{folder}/out.npy", "-j", "2",
               "--repeat", "4", "--json"]
        ours = sorted(json.loads(subprocess.run(run, check=True, capture_output=True).stdout)["run_s"][1:])
        with torch.no_grad():
            theirs = net(torch.from_numpy(x)).numpy()
            got = np.load(f"{folder}/out.npy")
            error = np.mean((got - theirs) ** 2, dtype=np.float64)
            decibels = 10 * np.log10(np.var(theirs, dtype=np.float64) / error)
            wrong |= not decibels > 100
            times = []
            for _ in range(2):
                start = time.perf_counter()
                net(torch.from_numpy(x))
                times.append(time.perf_counter() - start)
        ours, torch_time = ours[len(ours) // 2], min(times)
        print(f"| {size}² | {ours:.3f} | {torch_time:.3f} | {torch_time / ours:.2f} | {decibels:.1f} |", flush=True)
    return 1 if wrong else 0


sys.exit(main(sys.argv[1], sys.argv[2]))

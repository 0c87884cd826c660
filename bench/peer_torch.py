"""PyTorch as a peer of `bench peers`, which says how a peer behaves.  make deps-dev installs it."""
import resource
import sys
import time

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit(77)


class Net:
    """RRDBNet by its state dict, in functional form."""

    def __init__(self, state, channels):
        self.w = state
        self.blocks = 1 + max(int(k.split(".")[1]) for k in state if k.startswith("body."))
        self.unshuffle = round((state["conv_first.weight"].shape[1] / channels) ** 0.5)

    def conv(self, name, x):
        return F.conv2d(x, self.w[name + ".weight"], self.w[name + ".bias"], padding=1)

    def dense(self, name, x):
        values = [x]
        for k in range(1, 5):
            values.append(F.leaky_relu(self.conv(f"{name}.conv{k}", torch.cat(values, 1)), 0.2))
        return self.conv(f"{name}.conv5", torch.cat(values, 1)) * 0.2 + x

    def __call__(self, x):
        first = value = self.conv("conv_first", F.pixel_unshuffle(x, self.unshuffle))
        for i in range(self.blocks):
            inner = value
            for j in range(1, 4):
                inner = self.dense(f"body.{i}.rdb{j}", inner)
            value = inner * 0.2 + value
        value = first + self.conv("conv_body", value)
        for k in (1, 2):
            value = F.leaky_relu(self.conv(f"conv_up{k}", F.interpolate(value, scale_factor=2)), 0.2)
        return self.conv("conv_last", F.leaky_relu(self.conv("conv_hr", value), 0.2))


def main(model, source, target, *numbers):
    channels, height, width, threads = map(int, numbers)
    torch.set_num_threads(threads)
    picture = torch.from_numpy(np.fromfile(source, np.float32).reshape(1, channels, height, width))
    started = time.perf_counter()
    state = torch.load(model + ".pth")
    net = Net(state.get("params_ema", state.get("params", state)), channels)
    loaded = time.perf_counter() - started
    with torch.no_grad():
        net(picture).numpy().tofile(target)
        print("version", torch.__version__)
        print("load", loaded)
        print("ready", flush=True)
        while sys.stdin.readline():
            began = time.perf_counter()
            net(picture)
            print("run", time.perf_counter() - began, flush=True)
    print("memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


main(*sys.argv[1:])

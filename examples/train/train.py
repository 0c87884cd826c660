#!/usr/bin/env python3
"""Train an RRDBNet (ESRGAN generator) of any shape from folders of pictures.

    train.py --data PICTURES [MORE ...] --val TESTSET --out RUN --minutes 100

The same command again goes on where the run stopped. See README.md.
"""

import argparse
import csv
import math
import os
import signal
import sys
import time
from collections import deque
from statistics import median

import numpy as np
import torch
from torch.nn import functional as F

import curve
import measure
import pictures
from rrdbnet import SCALES, RRDBNet, export, load_exported

FIELDS = ["step", "progress", "minutes", "rate", "loss", "psnr"]


def options(argv):
    """Read the command line."""
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", nargs="+", required=True, metavar="DIR", help="pictures to learn from")
    p.add_argument("--val", metavar="DIR", help="pictures to measure on (a test set)")
    p.add_argument("--out", required=True, metavar="DIR", help="where the run is kept")
    p.add_argument("--name", default="model", help="name of the exported files")
    net = p.add_argument_group("shape")
    net.add_argument("--scale", type=int, default=4, choices=SCALES)
    net.add_argument("--feat", type=int, default=32, help="features of the trunk")
    net.add_argument("--blocks", type=int, default=2, help="number of RRDB blocks")
    net.add_argument("--grow", type=int, default=32, help="growth within a dense block")
    net.add_argument("--from", dest="origin", metavar="PTH",
                     help="begin with the weights of an exported model of the same shape")
    how = p.add_argument_group("length (one of them)")
    how.add_argument("--steps", type=int, help="so many steps")
    how.add_argument("--minutes", type=float, help="so much time")
    how.add_argument("--clock", choices=("running", "wall"), default="running",
                     help="with --minutes: count only time spent computing, or end at a "
                          "fixed time, whatever else the machine has to do")
    fit = p.add_argument_group("learning")
    fit.add_argument("--batch", type=int, default=16, help="pieces in a batch")
    fit.add_argument("--crop", type=int, default=32, help="side of a piece of the small picture")
    fit.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    fit.add_argument("--warmup", type=int, default=200, help="steps to reach it")
    fit.add_argument("--ema", type=float, default=0.999, help="decay of the averaged weights")
    fit.add_argument("--clip", type=float, default=1.0, help="limit of the gradient's norm")
    fit.add_argument("--degrade", type=float, help="share of pieces with blur and JPEG "
                     "(0.15; at scale 1 all of them)")
    fit.add_argument("--rescale", type=float, nargs="+", default=[1.0], metavar="FACTOR",
                     help="use each picture at these sizes, e.g. 1 0.7")
    fit.add_argument("--pick", type=int, default=2, help="take the most detailed of so many pieces")
    fit.add_argument("--seed", type=int, default=1)
    run = p.add_argument_group("running")
    run.add_argument("--every", type=int, default=500, help="steps between checkpoints")
    run.add_argument("--say", type=int, default=50, help="steps between lines of progress")
    run.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    run.add_argument("--type", default="auto", choices=("auto", "float", "bfloat16"),
                     help="what convolutions compute in")
    opt = p.parse_args(argv)
    if (opt.steps is None) == (opt.minutes is None):
        p.error("give either --steps or --minutes")
    for name in ("feat", "blocks", "grow", "batch", "crop", "warmup", "pick", "every", "say",
                 "steps", "minutes", "rate", "clip"):
        value = getattr(opt, name)
        if value is not None and value <= 0:
            p.error(f"--{name} {value}: must be above zero")
    if opt.feat < 3:
        p.error("--feat: at least 3, one for each colour")
    fold = {1: 4, 2: 2}.get(opt.scale, 1)
    if opt.crop % fold:
        p.error(f"--crop {opt.crop}: must be a multiple of {fold} at scale {opt.scale}")
    if opt.degrade is None:
        opt.degrade = 1.0 if opt.scale == 1 else 0.15
    if any(not 0 < f <= 1 for f in opt.rescale):
        p.error("--rescale: factors must be above 0 and at most 1")
    return opt


def pick_device(opt):
    """Where to compute and in what type, from what this machine is good at."""
    device = opt.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(device)
    if opt.type != "auto":
        return device, getattr(torch, opt.type)
    if device.type == "cuda":
        return device, torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
            flags = next((line for line in info if line.startswith("flags")), "")
    except OSError:
        flags = ""
    quick = "amx_bf16" in flags or "avx512_bf16" in flags
    return device, torch.bfloat16 if quick else torch.float32


class Pace:
    """How far the run has come, from 0 to 1; the learning rate follows it."""

    def __init__(self, opt, kept=None):
        kept = kept or {}
        self.opt = opt
        self.progress = kept.get("progress", 0.0)
        self.seconds = kept.get("seconds", 0.0)
        self.deadline = kept.get("deadline")
        if opt.minutes and opt.clock == "wall" and self.deadline is None:
            self.deadline = time.time() + opt.minutes * 60
        self.recent = deque(maxlen=101)
        self.last = time.monotonic()

    def keep(self):
        """What a checkpoint stores."""
        return {"progress": self.progress, "seconds": self.seconds, "deadline": self.deadline}

    def lap(self):
        """Time of one step; a gap (the process was stopped) counts as a slow step."""
        now = time.monotonic()
        took, self.last = now - self.last, now
        self.recent.append(took)
        return min(took, 3 * median(self.recent))

    def restart(self):
        """Do not count what happened since the last step (validation, saving)."""
        self.last = time.monotonic()

    def advance(self, step):
        """Count the step that was just done."""
        took = self.lap()
        self.seconds += took
        if self.opt.steps:
            self.progress = step / self.opt.steps
        elif self.opt.clock == "running":
            self.progress = self.seconds / (self.opt.minutes * 60)
        else:
            # Share what is left of the schedule over what is left of the time:
            # after a pause the rate falls faster, but never jumps.
            left = max(self.deadline - time.time(), 20 * took)
            self.progress += (1 - self.progress) * min(1.0, took / left)
            if time.time() >= self.deadline and self.rate_done():
                self.progress = 1.0
        self.progress = min(self.progress, 1.0)

    def rate_done(self):
        """Is there nothing left to gain by going on?"""
        return self.progress > 0.995

    def done(self):
        return self.progress >= 1.0 - 1e-9

    def left(self, step):
        """Seconds to go, as far as can be told."""
        if self.deadline:
            return max(0.0, self.deadline - time.time())
        if self.opt.minutes:
            return max(0.0, self.opt.minutes * 60 - self.seconds)
        return (self.opt.steps - step) * (median(self.recent) if self.recent else 0)

    def rate(self, step):
        """Learning rate: a linear warmup, then half a cosine down to a two-hundredth."""
        low = 0.005
        fall = low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(self.progress, 1.0)))
        return self.opt.rate * min(1.0, (step + 1) / self.opt.warmup) * fall


class Run:
    """A training run: net, averaged weights, optimizer and what is on disk."""

    def __init__(self, opt):
        self.opt = opt
        self.device, self.kind = pick_device(opt)
        os.makedirs(opt.out, exist_ok=True)
        self.path = {k: os.path.join(opt.out, v) for k, v in {
            "state": "state.pt", "log": "log.csv", "curve": "curve.png",
            "half": f"{opt.name}.pth", "float": f"{opt.name}-float.pth"}.items()}
        self.net = RRDBNet(opt.scale, opt.feat, opt.blocks, opt.grow)
        self.net.start(opt.seed)
        if opt.origin:
            self.begin_with(opt.origin)
        self.ema = RRDBNet(opt.scale, opt.feat, opt.blocks, opt.grow)
        self.ema.load_state_dict(self.net.state_dict())
        self.net.to(self.device, memory_format=torch.channels_last)
        self.ema.to(self.device, memory_format=torch.channels_last)
        self.net.compute = self.kind
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=opt.rate, betas=(0.9, 0.99))
        self.step = 0
        self.pace = Pace(opt)
        if os.path.exists(self.path["state"]):
            self.resume()
        else:
            with open(self.path["log"], "w", newline="", encoding="ascii") as f:
                csv.writer(f).writerow(FIELDS)

    def begin_with(self, path):
        """Take the first weights from an exported model."""
        try:
            self.net.load_state_dict(load_exported(path))
        except Exception as err:  # unreadable, or of another shape
            raise pictures.DataError(f"{path}: cannot begin with it ({err})") from None

    def resume(self):
        """Go on from the stored state; the log loses what came after it."""
        path = self.path["state"]
        try:
            kept = torch.load(path, map_location=self.device)
        except Exception as err:  # a torn or foreign file
            raise pictures.DataError(f"{path}: cannot be read ({err})") from None
        if kept.get("shape") != self.net.shape():
            raise pictures.DataError(f"{path}: holds a run of shape {kept.get('shape')}, "
                                     f"not {self.net.shape()}")
        self.net.load_state_dict(kept["net"])
        self.ema.load_state_dict(kept["ema"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.step = kept["step"]
        self.pace = Pace(self.opt, kept["pace"])
        rows = []
        if os.path.exists(self.path["log"]):
            with open(self.path["log"], newline="", encoding="ascii") as f:
                rows = [r for r in csv.DictReader(f) if int(r["step"]) <= self.step]
        with open(self.path["log"], "w", newline="", encoding="ascii") as f:
            w = csv.DictWriter(f, FIELDS)
            w.writeheader()
            w.writerows(rows)
        print(f"going on from step {self.step}", flush=True)

    def save(self):
        """Write the state so that a crash at any moment leaves a whole file."""
        kept = {"shape": self.net.shape(), "step": self.step, "pace": self.pace.keep(),
                "net": self.net.state_dict(), "ema": self.ema.state_dict(),
                "optimizer": self.optimizer.state_dict()}
        self.replace(self.path["state"], lambda p: torch.save(kept, p))
        for half in (True, False):
            self.replace(self.path["half" if half else "float"],
                         lambda p, h=half: export(self.ema.state_dict(), p, h))

    @staticmethod
    def replace(path, write):
        """Write a file beside the old one, then put it in its place."""
        part = path + ".part"
        write(part)
        with open(part, "rb+") as f:
            os.fsync(f.fileno())
        os.replace(part, path)

    def log(self, rate, loss, quality):
        """Add one line to the table."""
        with open(self.path["log"], "a", newline="", encoding="ascii") as f:
            csv.writer(f).writerow([self.step, f"{self.pace.progress:.5f}",
                                    f"{self.pace.seconds / 60:.2f}", f"{rate:.3e}",
                                    f"{loss:.6f}", f"{quality:.4f}" if quality else ""])

    def learn(self, small, large, rate):
        """One step of Adam on the mean absolute difference."""
        move = [torch.from_numpy(np.ascontiguousarray(a.transpose(0, 3, 1, 2)))
                .to(self.device).float().div_(255) for a in (small, large)]
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.l1_loss(self.net(move[0]), move[1])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.opt.clip)
        value = loss.item()
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            return None
        self.optimizer.step()
        self.step += 1
        # The average must not remember the first weights for long.
        keep = min(self.opt.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for slow, fast in zip(self.ema.parameters(), self.net.parameters()):
                slow.lerp_(fast, 1 - keep)
        return value


def clock(seconds):
    """Seconds as h:mm:ss."""
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def train(run, batches, tests):
    """The loop; comes back when the run is complete or was asked to stop."""
    stop = []
    for sig in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sig, lambda *_: stop.append(1))
    opt, bad, losses = run.opt, 0, deque(maxlen=200)
    run.pace.restart()
    while not run.pace.done() and not stop:
        rate = run.pace.rate(run.step)
        loss = run.learn(*batches.get(run.step + bad), rate)
        if loss is None:
            bad += 1
            print(f"step {run.step}: not finite, left out", flush=True)
            if bad >= 100:
                raise pictures.DataError("the run diverges: try a lower --rate")
            continue
        losses.append(loss)
        run.pace.advance(run.step)
        if run.step % opt.say == 0:
            speed = 1 / max(median(run.pace.recent), 1e-9)
            print(f"step {run.step}  {100 * run.pace.progress:.1f}%  rate {rate:.2e}  "
                  f"loss {np.mean(losses):.5f}  {speed:.2f} steps/s  "
                  f"left {clock(run.pace.left(run.step))}", flush=True)
        last = run.pace.done()
        if run.step % opt.every == 0 or last:
            finish(run, rate, float(np.mean(losses)), tests)
            run.pace.restart()
    if stop:
        run.save()
        print(f"stopped at step {run.step}; the same command goes on from there", flush=True)
    return not stop


def finish(run, rate, loss, tests):
    """Measure, log, save, draw."""
    quality = None
    if tests:
        each = measure.validate(run.ema, tests)
        quality = float(np.mean(each))
        print(f"step {run.step}  PSNR {quality:.3f} dB  (" + "  ".join(
            f"{name.rsplit('.', 1)[0]} {q:.2f}" for (name, _, _), q in zip(tests, each)) + ")",
            flush=True)
    run.log(rate, loss, quality)
    run.save()
    curve.draw(run.path["log"], run.path["curve"])


def main(argv=None):
    """Check everything that can be checked at once, then train."""
    opt = options(argv)
    try:
        tests = measure.load(opt.val, opt.scale) if opt.val else []
        pairs = pictures.load(opt.data, opt.scale, opt.crop, opt.rescale, pictures.warn)
        run = Run(opt)
        pixels = sum(large.shape[0] * large.shape[1] for large, _ in pairs) / 1e6
        count = sum(p.numel() for p in run.net.parameters())
        print(f"{len(pairs)} pictures, {pixels:.1f} megapixels; {count} weights; "
              f"{run.device}, {str(run.kind).split('.')[1]}", flush=True)
        if tests:
            print(f"{len(tests)} pictures to measure on: bicubic has "
                  f"{np.mean(measure.bicubic(tests)):.3f} dB", flush=True)
        if run.pace.done():
            print(f"this run is complete: {run.path['half']}", flush=True)
            return 0
        batches = pictures.Batches(pairs, opt.scale, opt.crop, opt.batch, opt.seed,
                                   opt.degrade, opt.pick)
        return 0 if train(run, batches, tests) else 3
    except (pictures.DataError, OSError) as err:
        print(f"train.py: {err}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

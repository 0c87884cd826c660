#!/usr/bin/env python3
"""Quick checks of the training: it learns, goes on, exports and complains well.

    python3 test_train.py

Takes less than a minute; skips itself where torch is missing.
"""

import contextlib
import csv
import io
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile

try:
    import numpy as np
    import torch
    from PIL import Image
except ImportError as err:
    print(f"skipped: {err}")
    sys.exit(77)

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import measure
import pictures
import train
from rrdbnet import RRDBNet, load_exported, shape_of

TINY = ["--feat", "8", "--blocks", "1", "--grow", "4", "--batch", "2", "--crop", "12",
        "--warmup", "2", "--type", "float", "--device", "cpu"]


def draw(folder, count, size, seed=0, mode="RGB", ending="png"):
    """Write some pictures of coloured discs."""
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size[1], 0:size[0]]
    for k in range(count):
        a = np.zeros((size[1], size[0], 3)) + rng.integers(0, 256, 3)
        for _ in range(12):
            cx, cy, r = rng.random(3) * (size[0], size[1], 20) + (0, 0, 4)
            a[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.integers(0, 256, 3)
        Image.fromarray(a.astype(np.uint8)).convert(mode).save(os.path.join(folder, f"{k}.{ending}"))
    return str(folder)


class Base(unittest.TestCase):
    """A folder to work in, and ways to run the program."""

    def setUp(self):
        keep = tempfile.TemporaryDirectory()
        self.addCleanup(keep.cleanup)
        self.dir = pathlib.Path(keep.name)
        torch.set_num_threads(1)

    def inside(self, *args):
        """Run in this process; returns status, stdout, stderr."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = train.main([str(a) for a in args])
            except SystemExit as stop:
                status = stop.code
        return status, out.getvalue(), err.getvalue()

    def outside(self, *args):
        """Start as a process of its own."""
        env = dict(os.environ, OMP_NUM_THREADS="1")
        return subprocess.Popen([sys.executable, str(HERE / "train.py"), *map(str, args)],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)

    def state(self, name):
        return torch.load(self.dir / name / "state.pt", map_location="cpu")

    def same(self, a, b):
        """Two runs ended with the same weights and the same optimizer state."""
        self.assertEqual(a["step"], b["step"])
        for part in ("net", "ema"):
            for key, value in a[part].items():
                self.assertTrue(torch.allclose(value, b[part][key], atol=1e-6), f"{part} {key}")
        for key, value in a["optimizer"]["state"].items():
            other = b["optimizer"]["state"][key]
            self.assertTrue(torch.allclose(value["exp_avg"], other["exp_avg"], atol=1e-6), key)


class Learning(Base):
    def test_scales_export_and_load(self):
        data = draw(self.dir / "data", 3, (120, 110))
        for scale in (1, 2, 4, 8):
            with self.subTest(scale=scale):
                out = self.dir / f"x{scale}"
                crop = ["--crop", "8"] if scale == 8 else []
                status, said, err = self.inside(
                    "--data", data, "--val", data, "--out", out, "--scale", scale, "--steps", 4,
                    "--every", 2, "--say", 1, "--degrade", "0.5", *TINY, *crop)
                self.assertEqual(status, 0, err)
                self.assertIn("left 0:00:0", said)
                for name, kind in (("model.pth", torch.float16), ("model-float.pth", torch.float32)):
                    with zipfile.ZipFile(out / name) as whole:
                        self.assertIn("archive/data.pkl", whole.namelist())
                    raw = torch.load(out / name)["params_ema"]
                    self.assertTrue(all(v.dtype == kind and v.is_contiguous() for v in raw.values()))
                    state = load_exported(out / name)
                    self.assertEqual(shape_of(state), {"scale": scale, "feat": 8, "blocks": 1, "grow": 4})
                    RRDBNet(**shape_of(state)).load_state_dict(state)
                with open(out / "log.csv", encoding="ascii") as f:
                    self.assertEqual([r["step"] for r in csv.DictReader(f)], ["2", "4"])

    def test_gets_better(self):
        data = draw(self.dir / "data", 4, (160, 160))
        status, _, err = self.inside("--data", data, "--val", data, "--out", self.dir / "run",
                                     "--scale", 4, "--steps", 150, "--every", 15, *TINY,
                                     "--feat", 16, "--grow", 8, "--rate", "3e-3", "--batch", 4,
                                     "--ema", "0.9")
        self.assertEqual(status, 0, err)
        with open(self.dir / "run" / "log.csv", encoding="ascii") as f:
            reached = [float(r["psnr"]) for r in csv.DictReader(f)]
        self.assertGreater(reached[-1], reached[0] + 0.5, reached)

    def test_begins_with_a_model(self):
        data = draw(self.dir / "data", 2, (80, 80))
        common = ["--data", data, "--steps", 1, *TINY]
        self.assertEqual(self.inside(*common, "--out", self.dir / "a")[0], 0)
        pth = self.dir / "a" / "model.pth"
        self.assertEqual(self.inside(*common, "--out", self.dir / "b", "--from", pth)[0], 0)
        status, _, err = self.inside(*common, "--out", self.dir / "c", "--from", pth, "--feat", 16)
        self.assertEqual(status, 1)
        self.assertIn("model.pth: cannot begin with it", err)


class Resuming(Base):
    def test_stopped_and_killed_runs_end_the_same(self):
        data = draw(self.dir / "data", 3, (90, 90))
        common = ["--data", data, "--steps", 60, "--every", 10, "--say", 1, *TINY]
        whole = self.outside(*common, "--out", self.dir / "whole")
        said = whole.communicate()[0]
        self.assertEqual(whole.returncode, 0, said)
        for name, sig, wanted in (("stopped", signal.SIGINT, 3), ("killed", signal.SIGKILL, -9)):
            first = self.outside(*common, "--out", self.dir / name)
            for line in first.stdout:
                if line.startswith("step 25 "):
                    first.send_signal(sig)
                    break
            first.communicate()
            self.assertEqual(first.returncode, wanted)
            again = self.outside(*common, "--out", self.dir / name)
            said = again.communicate()[0]
            self.assertEqual(again.returncode, 0, said)
            self.assertIn("going on from step", said)
            self.same(self.state("whole"), self.state(name))
            with open(self.dir / name / "log.csv", encoding="ascii") as f:
                self.assertEqual([int(r["step"]) for r in csv.DictReader(f)], list(range(10, 61, 10)))

    def test_other_shape_or_torn_state(self):
        data = draw(self.dir / "data", 2, (80, 80))
        common = ["--data", data, "--out", self.dir / "run", "--steps", 2, *TINY]
        self.assertEqual(self.inside(*common)[0], 0)
        self.assertIn("complete", self.inside(*common)[1])
        status, _, err = self.inside(*common, "--grow", 8)
        self.assertEqual(status, 1)
        self.assertIn("holds a run of shape", err)
        state = self.dir / "run" / "state.pt"
        state.write_bytes(state.read_bytes()[:1000])
        status, _, err = self.inside(*common)
        self.assertEqual(status, 1)
        self.assertIn("state.pt: cannot be read", err)

    def test_pauses_do_not_count(self):
        opt = train.options(["--data", "x", "--out", "y", "--minutes", "1"])
        pace = train.Pace(opt)
        for step in range(5):
            time.sleep(0.01)
            pace.advance(step)
        before = pace.seconds
        pace.last -= 1000  # as if the process had been stopped for so long
        pace.advance(5)
        self.assertLess(pace.seconds - before, 0.2)

    def test_wall_clock_ends_fully_decayed(self):
        opt = train.options(["--data", "x", "--out", "y", "--minutes", "0.01", "--clock", "wall",
                             "--warmup", "1"])
        pace, begun, step = train.Pace(opt), time.time(), 0
        while not pace.done():
            time.sleep(0.002)
            if step == 20:
                time.sleep(0.3)  # half of the time goes to something else
            step += 1
            pace.advance(step)
            self.assertLess(time.time() - begun, 10)
        self.assertAlmostEqual(pace.rate(step) / opt.rate, 0.005, places=4)


class BadInput(Base):
    def test_folders(self):
        (self.dir / "empty").mkdir()
        for folder, words in (("empty", "no pictures in it"), ("missing", "not a folder")):
            status, _, err = self.inside("--data", self.dir / folder, "--out", self.dir / "run",
                                         "--steps", 1, *TINY)
            self.assertEqual(status, 1)
            self.assertIn(words, err)
            self.assertIn(folder, err)

    def test_pictures_are_skipped_by_name(self):
        data = draw(self.dir / "data", 1, (100, 60))
        draw(self.dir / "data" / "small", 1, (20, 20), ending="jpg")
        draw(self.dir / "data" / "grey", 1, (64, 64), mode="L")
        (self.dir / "data" / "broken.png").write_bytes(b"not a picture")
        whole = (self.dir / "data" / "0.png").read_bytes()
        (self.dir / "data" / "torn.png").write_bytes(whole[:len(whole) // 2])
        status, said, err = self.inside("--data", data, "--out", self.dir / "run", "--steps", 1, *TINY)
        self.assertEqual(status, 0, err)
        self.assertIn("2 pictures", said)
        for words in ("broken.png: cannot be read", "torn.png: cannot be read",
                      "0.jpg: 20x20 is smaller than a piece (48x48)", "1 of the pictures are grey"):
            self.assertIn(words, err)

    def test_nothing_left(self):
        data = draw(self.dir / "data", 2, (20, 20))
        status, _, err = self.inside("--data", data, "--out", self.dir / "run", "--steps", 1, *TINY)
        self.assertEqual(status, 1)
        self.assertIn("no usable picture", err)
        (self.dir / "data" / "x.png").write_bytes(b"")
        status, _, err = self.inside("--data", data, "--val", data, "--out", self.dir / "run",
                                     "--steps", 1, *TINY)
        self.assertEqual(status, 1)
        self.assertIn("too small to validate on", err)

    def test_options(self):
        for extra, words in ((["--steps", "1", "--batch", "0"], "--batch"), ([], "--steps or --minutes"),
                             (["--steps", "1", "--scale", "3"], "--scale"),
                             (["--steps", "1", "--scale", "1", "--crop", "30"], "multiple of 4")):
            status, _, err = self.inside("--data", self.dir, "--out", self.dir / "run", *extra)
            self.assertEqual(status, 2)
            self.assertIn(words, err)


class Figures(unittest.TestCase):
    def test_luma_and_psnr(self):
        ends = measure.luma(np.array([[0, 0, 0], [255, 255, 255]]))
        self.assertTrue(np.allclose(ends, [16, 235], atol=0.01))
        a = np.zeros((8, 8))
        self.assertAlmostEqual(measure.psnr(a, a + 255), 0)
        b = a.copy()
        b[0] = 99
        self.assertEqual(measure.psnr(a, b, border=1), float("inf"))

    def test_reduction_treats_orientations_alike(self):
        img = np.random.default_rng(3).integers(0, 256, (64, 48, 3)).astype(np.uint8)
        small = np.asarray(pictures.shrink(Image.fromarray(img), 4)).astype(int)
        for turn in range(4):
            other = np.rot90(img, turn)[:, ::-1].copy()
            got = np.asarray(pictures.shrink(Image.fromarray(other), 4)).astype(int)
            self.assertLessEqual(np.abs(got - np.rot90(small, turn)[:, ::-1]).max(), 1)

    def test_batches_depend_on_the_step_alone(self):
        pairs = [(np.random.default_rng(5).integers(0, 256, (96, 96, 3)).astype(np.uint8),) * 2]
        one = pictures.Batches(pairs, 1, 16, 3, 7, 0.5, 2)
        two = pictures.Batches(pairs, 1, 16, 3, 7, 0.5, 2)
        for step in range(3):
            got = one.get(step)
        for a, b in zip(got, two.get(2)):
            self.assertTrue((a == b).all())


if __name__ == "__main__":
    unittest.main()

"""Draw the table of a run as a picture; does nothing where matplotlib is missing."""

import csv


def draw(table, path):
    """Loss and PSNR over the steps."""
    try:
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return
    with open(table, newline="", encoding="ascii") as f:
        rows = list(csv.DictReader(f))
    if not rows:
        return
    steps = [int(r["step"]) for r in rows]
    fig, left = pyplot.subplots(figsize=(8, 4.5))
    left.plot(steps, [float(r["loss"]) for r in rows], color="tab:orange")
    left.set_xlabel("step")
    left.set_ylabel("loss (mean absolute difference)", color="tab:orange")
    known = [r for r in rows if r["psnr"]]
    if known:
        right = left.twinx()
        right.plot([int(r["step"]) for r in known], [float(r["psnr"]) for r in known])
        right.set_ylabel("PSNR of Y, dB", color="tab:blue")
    fig.tight_layout()
    fig.savefig(path, dpi=100)
    pyplot.close(fig)

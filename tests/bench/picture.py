# SPDX-License-Identifier: Apache-2.0
"""Pictures of a benchmark's figures: how fast beside the better engine, and how near to what the machine can do."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def ratios(rows, path, title):
    """Horizontal bars of the speed beside the better peer; rows: of bench.py, for one or more numbers of threads."""
    names = list(dict.fromkeys(r["model"] for r in rows))
    threads = sorted({r["threads"] for r in rows})
    fig, ax = plt.subplots(figsize=(8, 1 + 0.22 * len(names) * len(threads)))
    height = 0.8 / len(threads)
    for k, t in enumerate(threads):
        mine = {r["model"]: r for r in rows if r["threads"] == t}
        at = [i + k * height for i, n in enumerate(names) if n in mine]
        value = [mine[n]["speed"] for n in names if n in mine]
        bars = ax.barh(at, value, height * 0.92, label=f"{t} thread{'s' if t > 1 else ''}", color=["#3b6ea5", "#d08a2e"][k % 2])
        ax.bar_label(bars, [f"{v:.2f}" for v in value], padding=3, fontsize=8)
    ax.axvline(1, color="black", linewidth=1)
    ax.set_yticks([i + height * (len(threads) - 1) / 2 for i in range(len(names))], names)
    ax.invert_yaxis()
    ax.set_xlabel("time of the fastest other engine / time of cnncc's C")
    ax.set_title(title)
    ax.legend(loc="lower right")
    fig.tight_layout()
    fig.savefig(path)
    plt.close(fig)


def roofline(rows, path, peak, bandwidth):
    """Each model at its operations a byte (weights, inputs and outputs, once) and its GFLOP/s, at one thread."""
    rows = [r for r in rows if r["threads"] == 1 and r.get("gflops")]
    if not rows:
        return
    fig, ax = plt.subplots(figsize=(8, 5))
    x = [r["intensity"] for r in rows]
    low, high = min(x) / 2, max(max(x) * 2, 2 * peak / bandwidth)
    edge = peak / bandwidth
    ax.plot([low, edge, high], [low * bandwidth, peak, peak], color="black", label=f"{peak:.0f} GFLOP/s, {bandwidth:.0f} GB/s")
    for mark, who, color in (("o", "gflops", "#3b6ea5"), ("x", "peer_gflops", "#d08a2e")):
        ax.scatter(x, [r[who] for r in rows], marker=mark, color=color, label="cnncc" if mark == "o" else "fastest other engine")
    for r in rows:
        ax.annotate(r["model"], (r["intensity"], r["gflops"]), textcoords="offset points", xytext=(5, -10), fontsize=7)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("operations a byte of weights, inputs and outputs")
    ax.set_ylabel("GFLOP/s (nominal: Winograd's savings count as speed)")
    ax.set_title("One thread, beside what the machine can do")
    ax.legend(loc="lower right")
    fig.tight_layout()
    fig.savefig(path)
    plt.close(fig)

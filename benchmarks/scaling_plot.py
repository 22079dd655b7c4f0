"""Draw what `scaling.py` measured: python benchmarks/scaling_plot.py RECORD.json FIGURE.svg"""

import sys
from pathlib import Path

from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from toynet.core.files import read_json
from toynet.reporting.style import BLUE, VERMILION, canvas

NETS = (("narrow", BLUE, "[16..128]"), ("wide", VERMILION, "[64..512]"))


def main() -> None:
    record = read_json(Path(sys.argv[1]))
    with canvas(Path(sys.argv[2]), 10.5, 8.6) as figure:
        draw(record, figure.subplots(3, 3))


def draw(record, axes) -> None:
    def rows(name):
        return [one for one in record["cases"] if one["figure"] == name]

    width, depth, batch, memory, piece, threads, flops, data, rate = axes.flat
    line(width, rows("width"), BLUE, "")
    label(width, "Width", "channels of the first stack")
    line(flops, rows("width"), BLUE, "", value=lambda one: one["gflops"])
    label(flops, "Arithmetic against width", "channels of the first stack", "GFLOP/s")
    found = rows("depth")
    depth.bar([one["at"].removeprefix("toynet") for one in found], [median(one) for one in found], color=BLUE)
    depth.set(title="Depth", xlabel="ToyNet, [16..128]", ylabel="images/s")
    for name, colour, title in NETS:
        line(batch, rows(f"batch, {name}"), colour, title)
        line(memory, rows(f"batch, {name}"), colour, title, value=lambda one: one["peak_resident_mib"])
        line(piece, rows(f"micro-batch of 512, {name}"), colour, title)
        found = rows(f"threads, {name}")
        threads.plot(
            [one["at"] for one in found],
            [median(one) / median(found[0]) for one in found],
            marker="o",
            color=colour,
            label=title,
        )
    label(batch, "Batch", "images in a batch")
    label(memory, "Memory", "images in a batch", "MiB occupied at most")
    label(piece, "Micro-batch of a batch of 512", "images at a time")
    threads.set(title="Threads", xlabel="threads", ylabel="speed against one thread", ylim=(0, None))
    threads.set_xticks([one["at"] for one in rows("threads, wide")])
    sizes = [one["images"] for one in record["data"]]
    data.plot(sizes, [one["seconds"] for one in record["data"]], marker="o", color=BLUE, label="in all")
    data.plot(
        sizes, [one["train_s"] for one in record["data"]], marker="o", color=VERMILION, label="training alone"
    )
    label(data, "One epoch against the data", "images in the set", "seconds")
    rate.plot(
        sizes,
        [0.8 * one["images"] / one["train_s"] for one in record["data"]],
        marker="o",
        color=VERMILION,
    )
    label(rate, "Rate against the data", "images in the set", "images/s in training")
    for axis in (batch, memory, piece, threads, data):
        axis.legend()


def median(one) -> float:
    return one["images_per_s"]["median"]


def line(axis, rows, colour, title, value=median) -> None:
    axis.plot(
        [one["at"] for one in rows], [value(one) for one in rows], marker="o", color=colour, label=title
    )


def label(axis, title, across, up="images/s") -> None:
    axis.set(title=title, xlabel=across, ylabel=up, xscale="log", yscale="log")
    ticks = sorted({float(x) for one in axis.lines for x in one.get_xdata()})
    axis.set_xticks(ticks[::3] if ticks[-1] > 10_000 else ticks)
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.yaxis.set_minor_locator(NullLocator())


if __name__ == "__main__":
    main()

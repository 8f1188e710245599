"""Draw the benchmarks' picture: seconds against size, of whole segmentations and of the scan alone."""

from pathlib import Path


def draw(curves: dict[str, dict], path: Path) -> Path:
    """Draw curves {label: sizes, seconds, slope, unit}, those of one unit on axes of their own; return the path."""
    from matplotlib.figure import Figure

    units = list(dict.fromkeys(curve["unit"] for curve in curves.values()))
    figure = Figure(figsize=(5 * len(units), 4), layout="constrained")
    for axes, unit in zip(figure.subplots(1, len(units), squeeze=False)[0], units, strict=True):
        for label, curve in curves.items():
            if curve["unit"] != unit:
                continue
            (line,) = axes.plot(curve["sizes"], curve["seconds"], "o-", label=f"{label}: exponent {curve['slope']:.2f}")
            first_size, first_seconds = curve["sizes"][0], curve["seconds"][0]
            proportional = [first_seconds * size / first_size for size in curve["sizes"]]
            axes.plot(curve["sizes"], proportional, ":", color=line.get_color())
        axes.set(xscale="log", yscale="log", xlabel=unit, ylabel="seconds")
        axes.set_xticks(sorted({size for curve in curves.values() if curve["unit"] == unit for size in curve["sizes"]}))
        axes.xaxis.set_major_formatter(lambda size, _: f"{size / 1e6:.1f} M" if size >= 1e6 else f"{size:,.0f}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.xaxis.minorticks_off()
        axes.yaxis.set_minor_formatter(lambda seconds, _: "")
        axes.margins(y=0.25)
        axes.grid(alpha=0.3)
        axes.legend(title="dotted: proportional to the size", fontsize="small", title_fontsize="small")
    figure.savefig(path, dpi=110)
    return path

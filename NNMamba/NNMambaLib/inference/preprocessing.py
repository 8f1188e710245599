"""From a volume as it was acquired to the array that a network expects, as the manifest says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.models.manifest import InputSpecification, Normalization
from NNMambaLib.volumes.resampling import regular_grid, resample
from NNMambaLib.volumes.volume import Grid, Volume, reoriented_grid


@dataclass(frozen=True)
class Prepared:
    """A network's input.

    Attributes:
        array: (channel, z, y, x), float32, normalized.
        grid, resampled: see `Placement`.
    """

    array: np.ndarray
    grid: Grid
    resampled: bool


@dataclass(frozen=True)
class Placement:
    """Where a network sees a volume.

    Attributes:
        grid: that the network works on.
        orientation: of that grid, three letters.
        resampled: False where the grid is the volume's own, at most with its axes permuted and flipped.
    """

    grid: Grid
    orientation: str
    resampled: bool


def place(source: Grid, specification: InputSpecification) -> Placement:
    """Return where a model sees a volume with the grid `source`."""
    # A model for which the axes are to stay as they are stored takes the volume's own orientation.
    orientation = source.orientation if specification.axes == "array" else specification.orientation
    assert orientation is not None, "the manifest names one unless the axes are those of the array"
    grid = regular_grid(
        source,
        orientation,
        spacing=specification.spacing,
        shape=specification.shape,
        anatomical=specification.axes == "anatomical",
    )
    return Placement(grid, orientation, not grid.matches(reoriented_grid(source, orientation)))


def prepare(volume: Volume, specification: InputSpecification, placement: Placement | None = None) -> Prepared:
    """Reorient, resample and normalize a volume.

    Args:
        placement: what `place` returned for the volume's grid; None computes it.

    Raises:
        VolumeError: if the number of channels is wrong, or a channel has no voxels to take statistics over.
    """
    check_channels(volume, specification)
    placement = placement or place(volume.grid, specification)
    if placement.resampled:
        array = resample(volume, placement.grid, specification.interpolation, specification.anti_aliasing).array
    else:
        array = np.array(volume.reoriented(placement.orientation).array, dtype=np.float32, order="C")
    for values, channel in zip(array, specification.channels, strict=True):
        normalize(values, channel.normalization, f"{volume.name}, channel {channel.name},")
    return Prepared(array, placement.grid, placement.resampled)


def check_channels(volume: Volume, specification: InputSpecification) -> None:
    """Refuse a volume with another number of channels than the model takes.

    Raises:
        VolumeError: naming the channels that the model takes.
    """
    names = [channel.name for channel in specification.channels]
    if volume.channels != len(names):
        raise VolumeError(
            f"{volume.name} has {volume.channels} channel{'s' if volume.channels > 1 else ''} and the model takes "
            f"{len(names)} ({', '.join(names)}): give one volume for each, in this order."
        )


def normalize(values: np.ndarray, how: Normalization, name: str = "The volume") -> None:
    """Normalize one channel (z, y, x), float32, in place; the kinds are those of `Normalization`.

    Raises:
        VolumeError: if the mask that statistics are taken over is empty.
    """
    if how.kind == "none":
        return
    if how.kind == "ct":
        assert how.mean is not None, "the schema requires it"
        assert how.sd is not None, "the schema requires it"
        np.clip(values, how.low, how.high, out=values)
        values -= how.mean
        values /= how.sd
        return
    mask = _mask(values, how.mask)
    if not np.any(mask):
        raise VolumeError(f"{name} has no voxels that are {how.mask}: it seems to be empty, check the input.")
    if how.kind == "percentile":
        assert how.low is not None, "the schema requires it"
        assert how.high is not None, "the schema requires it"
        low, high = np.percentile(values if mask is True else values[mask], [how.low, how.high])
        np.clip(values, low, high, out=values)
        values -= low
        values /= max(high - low, 1e-8)
        return
    mean, sd = _mean_and_sd(values, mask)
    if how.kind == "z-score":
        values -= mean
        values /= sd + 1e-8
    elif how.kind == "clip-sd":
        assert how.sds is not None, "the schema requires it"
        reach = max(how.sds * sd, 1e-8)
        np.clip(values, mean - reach, mean + reach, out=values)
        values -= mean - reach
        values *= 255 / (2 * reach)
    else:
        raise ValueError(f"unknown normalization {how.kind}")


def _mean_and_sd(values: np.ndarray, mask: np.ndarray | bool) -> tuple[float, float]:
    """Return mean and standard deviation, summed in float64 plane by plane: no copy of the volume in double."""
    masks = np.broadcast_to(mask, values.shape)
    count = np.count_nonzero(masks)
    mean = sum(float(np.sum(v, dtype=np.float64, where=m)) for v, m in zip(values, masks, strict=True)) / count
    squares = sum(float(np.sum((v - mean) ** 2, dtype=np.float64, where=m)) for v, m in zip(values, masks, strict=True))
    return mean, (squares / count) ** 0.5


def _mask(values: np.ndarray, kind: str) -> np.ndarray | bool:
    if kind == "nonzero":
        return values != 0
    if kind == "positive":
        return values > 0
    if kind == "above-mean":
        return values > np.mean(values, dtype=np.float64)
    return True

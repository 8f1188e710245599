"""From a volume as it was acquired to the array that a network expects, as the manifest says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from NNMambaLib.errors import VolumeError
from NNMambaLib.inference.axis_aligned import (
    Box,
    edge_aligned_grid,
    foreground,
    nonzero_box,
    planes_across,
    resized_mask,
    turned_box,
    turned_orientation,
)
from NNMambaLib.models.manifest import InputSpecification, Normalization
from NNMambaLib.volumes.resampling import regular_grid, resample
from NNMambaLib.volumes.spline import resize
from NNMambaLib.volumes.volume import Grid, Volume, reoriented_grid

# Voxels beyond the outermost ones up to which probabilities are extrapolated as constant: the model's grid may end half
# a (large) voxel before the input's. Further out is background.
REACH = 1.5
# Of a grid whose outer faces are those of what was cropped.
_TO_THE_FACES = 0.5


@dataclass(frozen=True)
class Prepared:
    """A network's input.

    Attributes:
        array: (channel, z, y, x), float32, normalized.
        grid, resampled: see `Placement`.
        reach: voxels of the grid beyond its outermost ones up to which what is found there is taken.
        planes_across: the axis (0: z, 1: y, 2: x) along which the way back takes the nearest voxel; None for none.
    """

    array: np.ndarray
    grid: Grid
    resampled: bool
    reach: float = REACH
    planes_across: int | None = None


@dataclass(frozen=True)
class Placement:
    """Where a network sees a volume.

    Attributes:
        grid: that the network works on.
        orientation: of that grid, three letters.
        resampled: False where the grid is the volume's own, at most with its axes permuted and flipped.
        box: of the volume's voxels, to which it is cropped; None for all of it.
    """

    grid: Grid
    orientation: str
    resampled: bool
    box: Box | None = None


def place_volume(volume: Volume, specification: InputSpecification) -> Placement:
    """Return where a model sees a volume, of which it may crop what is zero.

    Raises:
        VolumeError: if the model crops to what is not zero, and all is.
    """
    return place(volume.grid, specification, nonzero_box(volume) if specification.crop == "nonzero" else None)


def place(source: Grid, specification: InputSpecification, box: Box | None = None) -> Placement:
    """Return where a model sees a volume with the grid `source`, cropped to a box."""
    # A model for which the axes are to stay as they are stored takes the volume's own orientation.
    if specification.axes == "array":
        orientation = turned_orientation(source, specification.axis_order)
    else:
        orientation = specification.orientation
    assert orientation is not None, "the manifest names one unless the axes are those of the array"
    if specification.interpolation == "cubic":
        grid = edge_aligned_grid(source, specification, box)
        return Placement(grid, orientation, not grid.matches(reoriented_grid(source, orientation)), box)
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
        placement: what `place_volume` returned for the volume; None computes it.

    Raises:
        VolumeError: if the number of channels is wrong, or a channel has no voxels to take statistics over.
    """
    check_channels(volume, specification)
    placement = placement or place_volume(volume, specification)
    if specification.interpolation == "cubic":
        return _prepare_by_splines(volume, specification, placement)
    if placement.resampled:
        array = resample(volume, placement.grid, specification.interpolation, specification.anti_aliasing).array
    else:
        array = np.array(volume.reoriented(placement.orientation).array, dtype=np.float32, order="C")
    mask = _foreground_of(array, specification)
    for values, channel in zip(array, specification.channels, strict=True):
        normalize(values, channel.normalization, f"{volume.name}, channel {channel.name},", mask)
    return Prepared(array, placement.grid, placement.resampled)


def _prepare_by_splines(volume: Volume, specification: InputSpecification, placement: Placement) -> Prepared:
    """Crop, resample and normalize a volume along its own axes, in the order that the manifest says."""
    turned = volume.reoriented(placement.orientation)
    array = turned.array
    if placement.box is not None:
        box = turned_box(placement.box, specification.axis_order)
        array = array[(slice(None), *(slice(start, stop) for start, stop in box))]
    mask = _foreground_of(array, specification)
    wanted, shape = specification.spacing or placement.grid.spacing, placement.grid.shape
    across = planes_across(turned.grid.spacing, wanted, specification.planes)
    if specification.normalize == "after" and mask is not None:
        mask = resized_mask(mask, shape, across)
    result = np.empty((len(array), *shape), np.float32)
    # One channel at a time: copies of all would be larger than the input.
    for values, target, channel in zip(array, result, specification.channels, strict=True):
        name = f"{volume.name}, channel {channel.name},"
        if specification.normalize == "before":
            values = np.array(values, dtype=np.float32)
            normalize(values, channel.normalization, name, mask)
        target[:] = resize(values, shape, 3, across)
        if specification.normalize == "after":
            normalize(target, channel.normalization, name, mask)
    back = planes_across(wanted, turned.grid.spacing, specification.planes)
    return Prepared(result, placement.grid, placement.resampled, _TO_THE_FACES, back)


def _foreground_of(array: np.ndarray, specification: InputSpecification) -> np.ndarray | None:
    """Return the mask ``foreground`` of (channel, z, y, x), or None where no channel is normalized by it."""
    needed = any(channel.normalization.mask == "foreground" for channel in specification.channels)
    return foreground(array) if needed else None


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


def normalize(
    values: np.ndarray, how: Normalization, name: str = "The volume", inside: np.ndarray | None = None
) -> None:
    """Normalize one channel (z, y, x), float32, in place; the kinds are those of `Normalization`.

    Args:
        inside: the voxels that the mask ``foreground`` means.

    Raises:
        VolumeError: if the mask that statistics are taken over is empty.
    """
    _scale(values, how, name, inside)
    if how.mask == "foreground" and how.kind != "none":
        assert inside is not None, "the mask foreground is found before"
        values[~inside] = 0


def _scale(values: np.ndarray, how: Normalization, name: str, inside: np.ndarray | None) -> None:
    if how.kind == "none":
        return
    if how.kind == "ct":
        assert how.mean is not None, "the schema requires it"
        assert how.sd is not None, "the schema requires it"
        np.clip(values, how.low, how.high, out=values)
        values -= how.mean
        values /= how.sd
        return
    mask = inside if how.mask == "foreground" and inside is not None else _mask(values, how.mask)
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

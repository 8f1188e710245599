"""From a volume as it was acquired to the array that a network expects, by the manifest."""

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
        array: (channel, z, y, x), float32, normalised.
        grid: where its voxels lie.
        resampled: False where the grid is the volume's own, at most with its axes permuted and flipped.
    """

    array: np.ndarray
    grid: Grid
    resampled: bool


def model_grid(source: Grid, specification: InputSpecification) -> Grid:
    """Return the grid that a model works on for a volume with the grid `source`."""
    return regular_grid(
        source,
        _orientation(source, specification),
        spacing=specification.spacing,
        shape=specification.shape,
        anatomical=specification.axes == "anatomical",
    )


def needs_resampling(source: Grid, specification: InputSpecification) -> bool:
    """Tell whether a model's grid is more than the grid `source` with its axes permuted and flipped."""
    nearest = reoriented_grid(source, _orientation(source, specification))
    return not model_grid(source, specification).matches(nearest)


def prepare(volume: Volume, specification: InputSpecification) -> Prepared:
    """Reorient, resample and normalise a volume.

    Raises:
        VolumeError: if the number of channels is wrong, or a channel has no voxels to take statistics over.
    """
    check_channels(volume, specification)
    grid = model_grid(volume.grid, specification)
    resampled = needs_resampling(volume.grid, specification)
    if resampled:
        array = resample(volume, grid, specification.interpolation, specification.anti_aliasing).array
    else:
        reoriented = volume.reoriented(_orientation(volume.grid, specification))
        array = np.array(reoriented.array, dtype=np.float32, order="C")
    for values, channel in zip(array, specification.channels, strict=True):
        normalize(values, channel.normalization, f"{volume.name}, channel {channel.name},")
    return Prepared(array, grid, resampled)


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
    """Scale one channel (z, y, x), float32, in place; the kinds are those of `Normalization`.

    Raises:
        VolumeError: if the mask that statistics are taken over is empty.
    """
    if how.kind == "none":
        return
    if how.kind == "ct":
        np.clip(values, how.low, how.high, out=values)
        values -= how.mean
        values /= how.sd
        return
    mask = _mask(values, how.mask)
    if not np.any(mask):
        raise VolumeError(f"{name} has no voxels that are {how.mask}: it seems to be empty, check the input.")
    if how.kind == "percentile":
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
        reach = max(how.sds * sd, 1e-8)
        np.clip(values, mean - reach, mean + reach, out=values)
        values -= mean - reach
        values *= 255 / (2 * reach)
    else:
        raise ValueError(f"unknown normalisation {how.kind}")


def _orientation(source: Grid, specification: InputSpecification) -> str:
    """The orientation that a model wants: a volume's own where the axes are to stay as they are stored."""
    return source.orientation if specification.axes == "array" else specification.orientation


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

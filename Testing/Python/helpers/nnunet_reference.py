"""What both versions of nnU-Net do to a volume, once more and as plainly as can be, with scipy and in float64.

Written from the descriptions of its steps (Isensee et al. 2021) and its behaviour; arrays are (z, y, x), spacings too.
"""

import itertools
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import ndimage


@dataclass
class Plans:
    """What nnU-Net knows of a model. `schemes` has "CT", "z-score" or "none" for each channel."""

    version: int
    spacing: tuple
    patch: tuple
    schemes: tuple
    use_mask: tuple
    transpose: tuple = (0, 1, 2)
    ct: dict = field(default_factory=lambda: {"low": -50.0, "high": 90.0, "mean": 10.0, "sd": 30.0})


def zoomed(array, shape, order):
    zoom = np.array(shape) / array.shape
    result = ndimage.zoom(array.astype(float), zoom, order=order, mode="nearest", grid_mode=True)
    return result.clip(array.min(), array.max())


def plane_axis(first, second):
    for spacing in (first, second):
        if max(spacing) / min(spacing) > 3:
            coarsest = np.flatnonzero(np.array(spacing) == max(spacing))
            return int(coarsest[0]) if len(coarsest) == 1 else None
    return None


def resampled(array, shape, order, axis):
    if array.shape == tuple(shape):
        return array.astype(float)
    if axis is None:
        return zoomed(array, shape, order)
    planes = np.stack(
        [zoomed(p, np.delete(shape, axis), order) for p in np.moveaxis(array.astype(float), axis, 0)], axis
    )
    if planes.shape[axis] == shape[axis]:
        return planes
    index = np.stack(np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij"))
    index[axis] = array.shape[axis] / shape[axis] * (index[axis] + 0.5) - 0.5
    return ndimage.map_coordinates(planes, index, order=0, mode="nearest")


def normalized(channel, scheme, mask, use_mask, plans):
    if scheme == "none":
        return channel
    if scheme == "CT":
        result = (channel.clip(plans.ct["low"], plans.ct["high"]) - plans.ct["mean"]) / plans.ct["sd"]
        return np.where(mask, result, 0) if use_mask and plans.version == 1 else result
    where = mask if use_mask else np.ones_like(mask)
    result = (channel - channel[where].mean()) / max(channel[where].std(), 1e-8)
    return np.where(where, result, 0)


def preprocessed(array, spacing, plans):
    """Return the network's input (channel, z, y, x), the box and the shape before resampling, in transposed axes."""
    array = array.transpose(0, *(axis + 1 for axis in plans.transpose)).astype(float)
    spacing = [spacing[axis] for axis in plans.transpose]
    mask = ndimage.binary_fill_holes((array != 0).any(0))
    box = ndimage.find_objects(mask.astype(int))[0]
    array, mask = array[(slice(None), *box)], mask[box]
    old = array.shape[1:]
    shape = [int(np.round(s / t * n)) for s, t, n in zip(spacing, plans.spacing, old, strict=True)]
    axis = plane_axis(spacing, plans.spacing)

    def all_normalized(channels, mask):
        rows = zip(channels, plans.schemes, plans.use_mask, strict=True)
        return np.stack([normalized(channel, scheme, mask, use, plans) for channel, scheme, use in rows])

    if plans.version == 2:
        array = all_normalized(array, mask)
    array = np.stack([resampled(channel, shape, 3, axis) for channel in array])
    if plans.version == 1:
        # The mask travels as a label map of -1 and 0; each label is where its share is a half or more, the last wins.
        array = all_normalized(array, resampled(mask, shape, 1, axis) >= 0.5)
    return array, box, old


def window(patch):
    delta = np.zeros(patch)
    delta[tuple(size // 2 for size in patch)] = 1
    gaussian = ndimage.gaussian_filter(delta, [size / 8 for size in patch], mode="constant")
    gaussian /= gaussian.max()
    gaussian[gaussian == 0] = gaussian[gaussian > 0].min()
    return gaussian


def steps(size, width):
    count = int(np.ceil((size - width) / (width * 0.5))) + 1
    return [int(np.round((size - width) / max(1, count - 1) * number)) for number in range(count)]


def predicted(network, array, plans, mirror):
    """Return the blended outputs (output, z, y, x): probabilities in version 1, logits in version 2."""
    width = np.maximum(plans.patch, array.shape[1:])
    before = (width - array.shape[1:]) // 2
    padded = np.pad(array, [(0, 0), *((b, w - n - b) for b, w, n in zip(before, width, array.shape[1:], strict=True))])
    total, weights, gaussian = 0, np.zeros(padded.shape[1:]), window(plans.patch)
    flips = [f for n in range(4) for f in itertools.combinations((2, 3, 4), n)] if mirror else [()]
    for corner in itertools.product(*(steps(n, w) for n, w in zip(padded.shape[1:], plans.patch, strict=True))):
        place = tuple(slice(c, c + w) for c, w in zip(corner, plans.patch, strict=True))
        x = torch.from_numpy(padded[(slice(None), *place)].astype(np.float32))[None]
        with torch.inference_mode():
            outputs = [network(x.flip(flip)).flip(flip) for flip in flips]
        outputs = [torch.softmax(y, 1) if plans.version == 1 else y for y in outputs]
        mean = torch.stack(outputs).mean(0)[0].double().numpy()
        if not np.ndim(total):
            total = np.zeros((len(mean), *padded.shape[1:]))
        total[(slice(None), *place)] += mean * gaussian
        weights[place] += gaussian
    inner = tuple(slice(b, b + n) for b, n in zip(before, array.shape[1:], strict=True))
    return (total / weights)[(slice(None), *inner)]


def segmented(network, array, spacing, plans, mirror=False):
    """Return labels (z, y, x) and probabilities (output, z, y, x) on the volume's own grid."""
    prepared, box, old = preprocessed(array, spacing, plans)
    outputs = predicted(network, prepared, plans, mirror)
    turned = [spacing[axis] for axis in plans.transpose]
    axis = plane_axis(plans.spacing, turned)
    outputs = np.stack([resampled(output, old, 1, axis) for output in outputs])
    if plans.version == 2:
        outputs = np.exp(outputs - outputs.max(0))
        outputs /= outputs.sum(0)
    shape = [array.shape[1:][axis] for axis in plans.transpose]
    probabilities = np.zeros((len(outputs), *shape))
    probabilities[0] = 1
    probabilities[(slice(None), *box)] = outputs
    labels = np.zeros(shape, int)
    labels[box] = outputs.argmax(0)
    back = np.argsort(plans.transpose)
    return labels.transpose(back), probabilities.transpose(0, *(back + 1))

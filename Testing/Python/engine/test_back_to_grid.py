"""Labels on the input's grid: what is interpolated rows by rows is what whole volumes of probabilities would give."""

import numpy as np
import pytest
import torch

from helpers.intensity_network import write_segmentation_package
from helpers.perturbed_networks import perturbed_network
from helpers.phantoms import bodies, grid_matrix, oblique_rotation, sample
from NNMambaLib.inference.back_to_grid import Reoriented, Resampled, Wanted
from NNMambaLib.inference.sliding_window import Tiling, sliding_window
from NNMambaLib.inference.tile_predictor import softmax
from NNMambaLib.kernels import availability
from NNMambaLib.models.package import write_package
from NNMambaLib.networks.encoder_decoder import EncoderDecoder
from NNMambaLib.support.random_package import random_manifest
from NNMambaLib.volumes.resampling import regular_grid, resample
from NNMambaLib.volumes.volume import Grid, Volume

_CLASSES = 5
# The longest axis is x, y or z; voxels along z, y, x, none like another.
_MODEL_SHAPES = {"z": (30, 22, 19), "y": (17, 31, 21), "x": (18, 20, 33)}
# The target reaches beyond the model's grid, by less and by more than the one and a half voxels that go on.
_TARGETS = {
    "straight": ((37, 41, 43), {"orientation": "LPS", "spacing": (2.3, 2.1, 1.9)}),
    "oblique": ((33, 37, 39), {"orientation": "LPS", "spacing": (2, 2.2, 1.7), "rotation": oblique_rotation()}),
    "flipped, permuted, oblique": (
        (33, 37, 39),
        {"orientation": "SAR", "spacing": (2, 2.2, 1.7), "rotation": oblique_rotation(7)},
    ),
    "thick slices": ((11, 47, 45), {"orientation": "RAS", "spacing": (1.3, 1.2, 7)}),
    "sheared": ((33, 37, 39), {"orientation": "LPS", "spacing": (2, 2.2, 1.7), "shear": 0.35}),
}


@pytest.fixture(params=["compiled", "plain"])
def way(request, monkeypatch):
    _take(monkeypatch, request.param)
    return request.param


@pytest.mark.parametrize("axis", _MODEL_SHAPES)
@pytest.mark.parametrize("target", _TARGETS)
def test_labels_are_those_of_interpolated_whole_volumes(way, target, axis):
    p, grid = _probabilities(_MODEL_SHAPES[axis])
    shape, geometry = _TARGETS[target]
    target = Grid(shape, grid_matrix(shape=shape, **geometry))
    expected = np.stack(
        [
            resample(_extended(Volume(values[None], grid.matrix)), target, outside=float(label == 0)).array[0]
            for label, values in enumerate(p)
        ]
    )
    index = grid.to_index(target.to_physical(np.indices(shape).reshape(3, -1)[::-1].T))
    reach = np.maximum(-index, index - np.array(grid.shape[::-1]) + 1).max(1).reshape(shape)
    assert (reach > 1.5).any()
    assert ((reach > 0) & (reach < 1.5)).any()

    found = _collect(Resampled(grid, target, Wanted(_CLASSES, False, False)), p, 0.4)
    assert np.unique(found.labels).tolist() == list(range(_CLASSES))
    _assert_same_but_for_ties(found.labels, expected)
    extras = _collect(Resampled(grid, target, Wanted(_CLASSES, True, True)), p, 0.4)
    assert np.abs(extras.probabilities - expected).max() < 1e-3
    assert np.abs(extras.uncertainty - _uncertainty(expected)).max() < 1e-5
    _assert_same_but_for_ties(extras.labels, expected)


@pytest.mark.parametrize(("spacing", "slices"), [(1.0, 160), (0.8, 256), (1.2, 160), (2.0, 100), (0.5, 90)])
@pytest.mark.parametrize("orientation", ["RAS", "LPI"])
def test_no_voxel_falls_between_rows_that_adjoin(way, orientation, spacing, slices):
    """Where spacings are in simple proportion, voxels lie on the limit between batches of rows, but for rounding."""
    shape = (slices, 9, 7)
    target = Grid(shape, grid_matrix(orientation, (spacing,) * 3, shape))
    grid = regular_grid(target, "LPS", spacing=(1.5, 1.5, 1.5))
    p = np.zeros((2, *grid.shape), np.float32)
    p[1] = 1
    # Batches of one, two and four rows.
    for step, probabilities in ((0.15, False), (0.3, True), (0.5, False)):
        found = _collect(Resampled(grid, target, Wanted(2, probabilities, False)), p, step)
        assert (found.labels == 1).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 4), (9, 1, 1), (2, 2, 2)], ids=str)
def test_model_grids_of_a_single_voxel_along_an_axis(way, shape):
    p, grid = _probabilities(shape)
    target = Grid((13, 12, 11), grid_matrix("LPS", (1.7, 1.9, 2.1), (13, 12, 11), rotation=oblique_rotation(10)))
    expected = np.stack(
        [
            resample(_extended(Volume(values[None], grid.matrix)), target, outside=float(label == 0)).array[0]
            for label, values in enumerate(p)
        ]
    )
    found = _collect(Resampled(grid, target, Wanted(_CLASSES, False, False)), p, 0.5)
    _assert_same_but_for_ties(found.labels, expected)


@pytest.mark.parametrize("collector", [Reoriented, Resampled])
def test_of_equal_probabilities_the_first_label_is_taken(way, collector):
    grid = Grid((9, 8, 7), grid_matrix("LPS", (2, 2, 2), (9, 8, 7)))
    p = np.zeros((_CLASSES, *grid.shape), np.float32)
    p[[1, 3]] = 0.5
    p[:, :, 4:] = 0
    p[[2, 4], :, 4:] = 0.5
    labels = _collect(collector(grid, grid, Wanted(_CLASSES, False, False)), p, 0.5).labels
    assert np.unique(labels[:, :4]).tolist() == [1]
    assert np.unique(labels[:, 4:]).tolist() == [2]


def test_more_labels_than_a_byte_holds(way):
    grid = Grid((4, 5, 6), grid_matrix("LPS", (2, 2, 2), (4, 5, 6)))
    p = np.zeros((300, *grid.shape), np.float32)
    p[299] = 1
    for collector in (Reoriented, Resampled):
        labels = _collect(collector(grid, grid, Wanted(300, False, False)), p, 0.5).labels
        assert labels.dtype == np.uint16
        assert (labels == 299).all()


@pytest.mark.parametrize(
    ("shape", "mirror"),
    [((36, 28, 30), False), ((28, 36, 30), False), ((28, 30, 36), False), ((25, 22, 28), True)],
    ids=["z", "y", "x", "padded, mirrored"],
)
def test_engine_gives_the_same_with_and_without_compiled_kernels(engine, tmp_path, monkeypatch, shape, mirror):
    manifest = random_manifest("segmentation", outputs=3, base_width=4, patch=(32, 32, 32), spacing=(2.7, 3.1, 3.3))
    package = write_package(tmp_path, manifest, perturbed_network("SEG-CSS", 1, 3, base_width=4))
    matrix = grid_matrix("SAR", (3, 2.6, 3.4), shape, rotation=oblique_rotation(20))
    phantom = sample(lambda x: bodies(x) + 0.3 * np.sin(x).sum(-1), shape, matrix)
    results = {}
    for way in ("compiled", "plain"):
        _take(monkeypatch, way)
        results[way] = engine.segment(phantom, package, mirror=mirror, uncertainty=True, probabilities=True)
        labels = engine.segment(phantom, package, mirror=mirror).labels.array
        assert len(np.unique(labels)) == 3
        assert (labels == results[way].labels.array).mean() > 0.9999
        results[way, "labels"] = labels
    # A tie may fall to either side.
    assert (results["compiled", "labels"] != results["plain", "labels"]).sum() <= 1
    for volume in ("probabilities", "uncertainty"):
        first, second = (getattr(results[way], volume).array.astype(float) for way in ("compiled", "plain"))
        assert first == pytest.approx(second, abs=1e-3)


def test_tiles_of_one_value_are_run_once(engine, tmp_path, monkeypatch):
    """All background but for one corner: four of the tiles are alike."""
    package = write_segmentation_package(tmp_path)
    array = np.full((1, 32, 112, 32), 2, np.float32)
    array[..., :20, :] = np.random.default_rng(0).normal(size=(32, 20, 32))
    volume = Volume(array, grid_matrix("RAS", (3, 3, 3), array.shape[1:]))
    runs, events = [], []
    forward = EncoderDecoder.forward
    monkeypatch.setattr(EncoderDecoder, "forward", lambda self, x: runs.append(None) or forward(self, x))
    found = engine.segment(volume, package, on_progress=events.append)
    assert len(runs) == 3
    assert [event.done for event in events if event.stage == "Segmenting"] == [0, 1, 2, 3, 4, 5, 6]
    # A value that differs in one voxel of each tile by next to nothing has every tile run.
    array[:, 16, 35::16, 16] += 1e-6
    distinct = engine.segment(volume, package)
    assert len(runs) == 3 + 6
    assert np.array_equal(found.labels.array, distinct.labels.array)


def test_tiles_of_one_value_are_told_apart_by_it():
    """Also by that of one channel, and where padding is a part of the tile."""

    def predict(tile):
        tiles.append(tile.mean((1, 2, 3)).round(3).tolist())
        return torch.from_numpy(tile.copy())

    array = np.zeros((2, 40, 8, 6), np.float32)
    array[0, 8:24], array[1, 24:] = 1, 3
    for width, expected in ((6, [[0, 0], [1, 0], [0, 3]]), (8, [[0, 0], [0.75, 0], [0.75, 0], [0, 2.25], [0, 2.25]])):
        tiles = []
        rows = [
            rows.values.numpy().copy()
            for rows in sliding_window(predict, array, Tiling.plan((40, 8, 6), (8, 8, width), 1), 2)
        ]
        assert np.concatenate(rows, 1) == pytest.approx(array)
        assert tiles == expected


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_softmax_is_that_of_torch_and_keeps_what_is_no_number(way, layout):
    y = 20 * torch.randn(1, 7, 20, 21, 22, generator=torch.Generator().manual_seed(0))
    y[0, :, 0, 0, 0] = 1e9
    expected = torch.softmax(y, 1)
    found = softmax(y.clone(memory_format=layout))
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    for value in (float("nan"), float("inf")):
        spoilt = y.clone(memory_format=layout)
        spoilt[0, 3, 10, 10, 10] = value
        assert softmax(spoilt)[0, :, 10, 10, 10].isnan().any()


def _take(monkeypatch, way):
    if way == "compiled":
        pytest.importorskip("numba")
        from NNMambaLib.kernels import labels

        monkeypatch.setattr(availability, "label_kernels", lambda: labels)
    else:
        monkeypatch.setattr(availability, "label_kernels", lambda: None)


def _probabilities(shape):
    """Return smooth probabilities (label, z, y, x) with fine boundaries, and an oblique grid for them."""
    k, j, i = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    turns = np.random.default_rng(1).normal(size=(_CLASSES, 4))
    logits = [3 * np.sin(0.5 * a * k + 0.4 * b * j + 0.3 * c * i + d) for a, b, c, d in turns]
    p = torch.softmax(torch.tensor(np.array(logits), dtype=torch.float32), 0).numpy()
    return p, Grid(shape, grid_matrix("LAS", (2.9, 2.7, 3.1), shape, rotation=oblique_rotation(5)))


def _extended(volume):
    """Return the volume with one voxel more on every side, equal to the outermost."""
    matrix = volume.matrix.copy()
    matrix[:3, 3] = volume.grid.to_physical([(-1, -1, -1)])[0]
    return Volume(np.pad(volume.array, ((0, 0), (1, 1), (1, 1), (1, 1)), mode="edge"), matrix)


def _collect(collector, p, step):
    """Hand `p` over as tiles of the engine are, a few rows at a time, with the outputs first or last in memory."""
    patch = tuple(min(8, size) for size in p.shape[1:])
    tiling = Tiling.plan(p.shape[1:], patch, step)
    turn = iter(range(10_000))

    def predict(tile):
        last = torch.from_numpy(np.ascontiguousarray(np.moveaxis(tile, 0, -1))).movedim(-1, 0)
        return last if next(turn) % 2 else last.contiguous()

    for rows in sliding_window(predict, p, tiling, len(p)):
        collector.add(rows)
    return collector.finish()


def _assert_same_but_for_ties(labels, p):
    ordered = np.sort(p, axis=0)
    sure = ordered[-1] - ordered[-2] > 1e-5
    assert sure.mean() > 0.999
    assert np.array_equal(labels[sure], p.argmax(0)[sure])


def _uncertainty(p):
    return -(p * np.log(np.maximum(p, 1e-12))).sum(0) / np.log(len(p))

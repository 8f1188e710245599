"""The engine: what it reports while it runs, what it returns, and what it does when memory is short."""

import re
import shutil
import subprocess
import sys
import weakref
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.intensity_network import LANDMARK_NAMES, write_landmarks_package, write_segmentation_package
from helpers.perturbed_networks import perturbed_network
from helpers.phantoms import LANDMARKS, bodies, bright_points, grid_matrix, sample
from NNMambaLib import __version__
from NNMambaLib import engine as engine_module
from NNMambaLib.engine import Engine
from NNMambaLib.errors import BackendError, Cancelled, MemoryPlanError, ModelError, VolumeError
from NNMambaLib.inference.answers import predict_target
from NNMambaLib.inference.crop_and_pad import fit_to_patch
from NNMambaLib.inference.sliding_window import Tiling, sliding_window
from NNMambaLib.models.manifest import Target
from NNMambaLib.models.package import open_package, write_package
from NNMambaLib.networks.convolution import bfloat16_unavailable_reason
from NNMambaLib.networks.encoder_decoder import EncoderDecoder
from NNMambaLib.support.random_package import random_manifest, write_random_package
from NNMambaLib.volumes.volume import Volume

# Voxels along z, y, x: 3 tiles along y and one along the others.
_SHAPE = (32, 64, 32)
_MATRIX = grid_matrix("RAS", (3, 3, 3), _SHAPE)


@pytest.fixture(scope="module")
def phantom():
    return sample(bodies, _SHAPE, _MATRIX)


@pytest.fixture(scope="module")
def sided_package(tmp_path_factory):
    """Random weights of which every one matters, so that no direction is like another."""
    manifest = random_manifest("segmentation", outputs=3, base_width=4, patch=(32, 32, 32), spacing=(3, 3, 3))
    return write_package(tmp_path_factory.mktemp("sided"), manifest, perturbed_network("SEG-CSS", 1, 3, base_width=4))


# --- progress and cancelling -------------------------------------------------------------------------------------


def test_progress_names_the_stages_in_order_and_counts_tiles(engine, phantom, segmentation_package):
    events = []
    engine.segment(phantom, segmentation_package, on_progress=events.append)
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages == ["Loading the model", "Preparing the volume", "Segmenting", "Back to the input's grid"]
    tiles = [event for event in events if event.stage == "Segmenting"]
    assert [(event.done, event.total) for event in tiles] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert tiles[0].seconds_left is None
    assert tiles[1].seconds_left > 0
    assert tiles[3].seconds_left == 0


def test_seconds_of_every_stage_are_in_the_result(engine, phantom, segmentation_package):
    events = []
    result = engine.segment(phantom, segmentation_package, on_progress=events.append)
    seconds = dict(result.provenance.seconds)
    total = seconds.pop("total")
    assert set(seconds) == {event.stage for event in events}
    assert total == pytest.approx(sum(seconds.values()), abs=0.1)


def test_cancelling_takes_effect_at_the_next_tile(engine, phantom, segmentation_package):
    events = []

    def after_first_tile():
        return bool(events) and events[-1].stage == "Segmenting" and events[-1].done == 1

    with pytest.raises(Cancelled, match="nothing was changed"):
        engine.segment(phantom, segmentation_package, on_progress=events.append, is_cancelled=after_first_tile)
    assert (events[-1].stage, events[-1].done) == ("Segmenting", 1)
    # The engine is as good as before.
    assert engine.segment(phantom, segmentation_package).labels.array.any()


def test_job_cancelled_from_the_start_runs_no_network(engine, phantom, landmarks_package, monkeypatch):
    monkeypatch.setattr(EncoderDecoder, "forward", lambda *_: pytest.fail("the network ran"))
    with pytest.raises(Cancelled):
        engine.detect_landmarks([phantom] * 3, landmarks_package, is_cancelled=lambda: True)


# --- segmentation ------------------------------------------------------------------------------------------------


def test_probabilities_are_those_of_the_network(engine, phantom, segmentation_package):
    """The network's answer is known: a Gaussian posterior around each whole number, for the mean of 2x2x2 voxels."""
    result = engine.segment(phantom, segmentation_package, probabilities=True)
    p = result.probabilities.array.astype(float)
    blocks = phantom.array[0].reshape(16, 2, 32, 2, 16, 2).mean((1, 3, 5)).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    expected = np.exp(-4 * (blocks - np.arange(4)[:, None, None, None]) ** 2)
    expected /= expected.sum(0)
    # Interpolation between the blocks' centres is what differs.
    assert np.abs(p - expected).mean() < 0.02
    assert np.corrcoef(p.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("spacing", [(3.0, 3.0, 3.0), (3.5, 3.5, 3.5)], ids=["own grid", "resampled"])
def test_labels_probabilities_and_entropy_agree(engine, phantom, tmp_path, spacing):
    package = write_segmentation_package(tmp_path, spacing=spacing)
    result = engine.segment(phantom, package, probabilities=True, uncertainty=True)
    p = result.probabilities.array.astype(float)
    assert p.shape == (4, *_SHAPE)
    assert p.sum(0) == pytest.approx(1, abs=2e-3)
    sure = np.sort(p, axis=0)[-1] - np.sort(p, axis=0)[-2] > 2e-3
    assert sure.mean() > 0.99
    assert np.array_equal(result.labels.array[0][sure], p.argmax(0)[sure])
    uncertainty = -(p * np.log(np.maximum(p, 1e-12))).sum(0) / np.log(4)
    assert result.uncertainty.array[0] == pytest.approx(uncertainty, abs=0.01)
    assert result.uncertainty.array.min() > -1e-6
    assert 0.3 < result.uncertainty.array.max() <= 1
    for volume in (result.labels, result.probabilities, result.uncertainty):
        assert np.array_equal(volume.matrix, phantom.matrix)


def test_beyond_the_models_grid_its_outermost_voxels_go_on(engine, phantom, tmp_path):
    """A whole number of large voxels may be short of the outermost of the volume's own."""
    package = write_segmentation_package(tmp_path, spacing=(7.7, 3.0, 3.0), patch=(16, 32, 32))
    p = engine.segment(phantom, package, probabilities=True).probabilities.array
    assert p[..., 0] == pytest.approx(p[..., 1])
    assert p[..., -1] == pytest.approx(p[..., -2])
    assert p.sum(0) == pytest.approx(1, abs=2e-3)


def test_extras_come_only_where_asked_for(engine, phantom, segmentation_package):
    result = engine.segment(phantom, segmentation_package)
    assert result.probabilities is None
    assert result.uncertainty is None
    assert result.labels.array.dtype == np.uint8


def test_volumes_are_voxels_times_the_voxels_volume(engine, segmentation_package):
    shape = (34, 30, 40)
    oblique = sample(bodies, shape, grid_matrix("PIR", (2.0, 3.0, 2.5), shape, shear=0.2))
    result = engine.segment(oblique, segmentation_package)
    for label in result.label_definitions:
        count = int((result.labels.array == label.value).sum())
        assert count > 0
        assert result.volumes_ml[label.name] == pytest.approx(count * 2.0 * 3.0 * 2.5 / 1000)


def test_mirroring_is_the_mean_over_all_flips(engine, sided_package):
    noise = Volume(np.random.default_rng(0).normal(size=(1, 32, 32, 32)).astype(np.float32), _MATRIX)
    mirrored = engine.segment(noise, sided_package, mirror=True, probabilities=True).probabilities.array
    total = 0
    flips = [[axis for axis in (1, 2, 3) if bits >> axis & 1] for bits in range(0, 16, 2)]
    for flip in flips:
        flipped = Volume(np.flip(noise.array, flip).copy(), _MATRIX)
        p = engine.segment(flipped, sided_package, probabilities=True).probabilities.array.astype(float)
        total = total + np.flip(p, flip)
    plain = engine.segment(noise, sided_package, probabilities=True).probabilities.array
    assert mirrored == pytest.approx(total / len(flips), abs=2e-3)
    assert np.abs(mirrored - plain).max() > 0.02


def test_mirroring_goes_along_the_axes_that_the_model_allows(engine, tmp_path, sided_package):
    """Mirrored along x, the network cannot tell left from right any more, but still front from back."""
    manifest = replace(sided_package.manifest, input=replace(sided_package.manifest.input, mirror_axes=("x",)))
    package = write_package(tmp_path, manifest, sided_package.load())
    noise = np.random.default_rng(0).normal(size=(1, 32, 32, 32)).astype(np.float32)
    z, y, x = 1, 2, 3
    p = {
        axis: np.flip(
            engine.segment(
                Volume(np.flip(noise, axis).copy(), _MATRIX), package, mirror=True, probabilities=True
            ).probabilities.array.astype(float),
            axis,
        )
        for axis in ((), x, y, z)
    }
    assert p[x] == pytest.approx(p[()], abs=2e-3)
    assert np.abs(p[y] - p[()]).max() > 0.02
    assert np.abs(p[z] - p[()]).max() > 0.02


def test_mirroring_that_the_model_does_not_allow_is_refused(engine, phantom, segmentation_package):
    with pytest.raises(ModelError, match="nearest-number does not allow mirroring"):
        engine.segment(phantom, segmentation_package, mirror=True)


# --- tiles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(23, 17, 11), (17, 31, 20), (10, 19, 35)], ids=["z", "y", "x"])
@pytest.mark.parametrize("step", [0.3, 0.5, 1.0])
def test_tiles_of_what_needs_no_context_blend_to_the_whole(shape, step):
    """Whichever axis is the longest, and whether or not the patch divides the volume or is larger."""
    array = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    tiling = Tiling.plan(shape, (8, 16, 12), step)
    blended = np.full((3, *shape), np.nan, np.float32)
    tiles = []

    def predict(tile):
        tiles.append(tile.shape)
        x = torch.from_numpy(tile)
        return torch.stack([x[0], x[1], x[0] * x[1]])

    for rows in sliding_window(predict, array, tiling, outputs=3):
        assert rows.axis == int(np.argmax(shape))
        assert np.isnan(blended[rows.place]).all()
        blended[rows.place] = rows.values.numpy()
    assert blended == pytest.approx(np.stack([array[0], array[1], array[0] * array[1]]), abs=1e-5)
    assert tiles == [(2, 8, 16, 12)] * tiling.count


@pytest.mark.parametrize("step", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("size", [1, 15, 16, 17, 31, 100])
def test_tiles_cover_the_volume_at_most_a_step_apart(size, step):
    starts = np.array(Tiling.plan((size, 16, 16), (16, 16, 16), step).starts[0])
    if size <= 16:
        assert starts.tolist() == [-((16 - size) // 2)]
        return
    assert starts[0] == 0
    assert starts[-1] == size - 16
    # Starts are whole voxels: half of one either way.
    assert np.diff(starts).max() <= 16 * step + 1


@pytest.mark.parametrize("shape", [(40, 33, 35), (33, 40, 35), (33, 35, 40)], ids=["z", "y", "x"])
def test_engine_on_odd_sizes_gives_what_one_large_tile_gives(engine, tmp_path, shape):
    phantom = sample(bodies, shape, grid_matrix("RAS", (3, 3, 3), shape))
    tiled = engine.segment(phantom, write_segmentation_package(tmp_path / "32"), probabilities=True)
    whole = write_segmentation_package(tmp_path / "48", patch=(48, 48, 48))
    expected = engine.segment(phantom, whole, probabilities=True, pad_small=True)
    # The stem pairs voxels from the tile's first on, so that tiles may see the intensities half a voxel apart.
    assert np.abs(tiled.probabilities.array - expected.probabilities.array).mean() < 0.01
    assert (tiled.labels.array == expected.labels.array).mean() > 0.98
    assert tiled.labels.array.shape == (1, *shape)


def test_step_decides_the_number_of_tiles(engine, phantom, segmentation_package):
    counts = {}
    for step in (0.25, 0.5, 1.0):
        events = []
        engine.segment(phantom, segmentation_package, step=step, on_progress=events.append)
        counts[step] = next(event.total for event in events if event.stage == "Segmenting")
    assert counts == {0.25: 5, 0.5: 3, 1.0: 2}
    for step in (0, -1, 1.5, float("nan")):
        with pytest.raises(VolumeError, match=r"at least 0\.01 and at most 1"):
            engine.segment(phantom, segmentation_package, step=step)


# --- landmarks ---------------------------------------------------------------------------------------------------


def test_landmarks_carry_name_definition_and_confidence(engine, landmarks_package):
    result = engine.detect_landmarks(sample(bright_points, _SHAPE, _MATRIX), landmarks_package)
    assert tuple(landmark.name for landmark in result.landmarks) == LANDMARK_NAMES
    assert result.landmarks[0].definition == "Brightest point of the channel front"
    # The peaks are 2 high, less a little for the mean over 2x2x2 voxels.
    assert all(0.95 < landmark.confidence < 1 / (1 + np.exp(-4)) for landmark in result.landmarks)


def test_landmark_that_is_not_there_is_not_found(engine, landmarks_package):
    phantom = sample(bright_points, _SHAPE, _MATRIX)
    phantom.array[1] = 0
    phantom.array[2] *= 0.3
    front, side, top = engine.detect_landmarks(phantom, landmarks_package).landmarks
    assert front.found
    assert np.linalg.norm(np.array(front.position) - LANDMARKS[0]) < 1
    assert side.position is None
    assert side.confidence == pytest.approx(1 / (1 + np.exp(4)))
    assert top.position is None
    assert side.confidence < top.confidence < 0.5


# --- classification ----------------------------------------------------------------------------------------------


def test_classifier_crops_and_pads_about_the_centre(engine, tmp_path):
    manifest = random_manifest("classification", outputs=3, base_width=2, patch=(32, 48, 32), spacing=(1, 1, 1))
    manifest = replace(manifest, input=replace(manifest.input, orientation="LPS"))
    package = write_random_package(tmp_path, manifest)
    array = np.random.default_rng(0).normal(size=(1, 40, 30, 33)).astype(np.float32)
    fitted = np.zeros((1, 32, 48, 32), np.float32)
    fitted[:, :, 9:39, :] = ((array - array.mean()) / array.std())[:, 4:36, :, :32]
    assert np.array_equal(fit_to_patch(fitted, (32, 48, 32)), fitted)
    result = engine.classify(Volume(array, np.eye(4)), package)
    with torch.inference_mode():
        expected = torch.softmax(package.load()(torch.from_numpy(fitted)[None]), 1)[0]
    (prediction,) = result.predictions
    assert list(prediction.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert prediction.predicted == f"class {int(expected.argmax()) + 1}"
    assert len(set(np.round(expected.tolist(), 3))) == 3
    notices = " ".join(result.provenance.notices)
    assert "padded and cropped about its center from 33x30x40 to 32x48x32 voxels" in notices


def test_several_targets_share_the_logits_in_order(engine, tmp_path):
    targets = (Target("sex", ("f", "m"), binary=True, threshold=0.99), Target("site", ("a", "b", "c")))
    manifest = random_manifest("classification", outputs=4, base_width=2, patch=(32, 32, 32))
    package = write_random_package(tmp_path, replace(manifest, targets=targets))
    volume = Volume(np.random.default_rng(0).normal(size=(1, 32, 32, 32)).astype(np.float32), np.diag([-1, -1, 1, 1]))
    with torch.inference_mode():
        x = torch.from_numpy((volume.array - volume.array.mean()) / volume.array.std())
        logits = package.load()(x[None])[0]
    sex, site = engine.classify(volume, package).predictions
    assert sex.probabilities["m"] == pytest.approx(float(torch.sigmoid(logits[0])), abs=1e-5)
    assert sex.predicted == "f"
    assert list(site.probabilities.values()) == pytest.approx(torch.softmax(logits[1:], 0).tolist(), abs=1e-5)


def test_temperature_softens_and_threshold_decides():
    plain = predict_target(Target("t", ("a", "b", "c")), np.array([2.0, 1.0, 0.0]))
    soft = predict_target(Target("t", ("a", "b", "c"), temperature=2.0), np.array([2.0, 1.0, 0.0]))
    assert plain.probabilities == pytest.approx({"a": 0.6652, "b": 0.2447, "c": 0.0900}, abs=1e-4)
    assert soft.probabilities == pytest.approx({"a": 0.5065, "b": 0.3072, "c": 0.1863}, abs=1e-4)
    logit = np.array([1.0])
    assert predict_target(Target("t", ("no", "yes"), binary=True), logit).probabilities["yes"] == pytest.approx(
        0.7311, abs=1e-4
    )
    assert predict_target(Target("t", ("no", "yes"), binary=True, threshold=0.73), logit).predicted == "yes"
    assert predict_target(Target("t", ("no", "yes"), binary=True, threshold=0.74), logit).predicted == "no"


# --- provenance and loaded networks ------------------------------------------------------------------------------


def test_result_says_where_it_comes_from(engine, phantom, segmentation_package):
    provenance = engine.segment(phantom, segmentation_package, step=0.75).provenance
    assert (provenance.model, provenance.model_version) == ("nearest-number", "1.0.0")
    assert provenance.weights_sha256 == segmentation_package.sha256
    assert re.fullmatch("[0-9a-f]{64}", provenance.weights_sha256)
    assert provenance.engine_version == __version__
    assert (provenance.device, provenance.scan_backend) == ("cpu", "torch")
    assert provenance.options == {"mirror": False, "step": 0.75, "pad_small": False}
    assert abs((datetime.now().astimezone() - datetime.fromisoformat(provenance.started)).total_seconds()) < 60
    assert provenance.notices == ()
    assert provenance.as_dict()["model"] == "nearest-number"
    stages = ["Loading the model", "Preparing the volume", "Segmenting", "Back to the input's grid", "total"]
    assert list(provenance.seconds) == stages


def test_steps_of_less_than_a_voxel_are_steps_of_one(engine, phantom, segmentation_package):
    fine = engine.segment(phantom, segmentation_package, step=0.03)
    assert (fine.labels.array == engine.segment(phantom, segmentation_package).labels.array).mean() > 0.99


@pytest.mark.skipif(bfloat16_unavailable_reason(torch.device("cpu")) is not None, reason="the processor lacks it")
def test_bfloat16_is_asked_for_and_told(engine, phantom, segmentation_package):
    result = Engine("cpu", "torch", precision="bfloat16").segment(phantom, segmentation_package)
    assert result.provenance.options["precision"] == "bfloat16"
    exact = engine.segment(phantom, segmentation_package)
    assert "precision" not in exact.provenance.options
    assert (result.labels.array == exact.labels.array).mean() > 0.97


@pytest.mark.parametrize(("precision", "remedy"), [("float16", "float32 or bfloat16"), ("bfloat16", "float32")])
def test_precision_that_cannot_be_had_is_refused(monkeypatch, precision, remedy):
    monkeypatch.setattr("NNMambaLib.engine.bfloat16_unavailable_reason", lambda device: "this processor lacks it")
    with pytest.raises(BackendError, match=f"choose (--precision )?{remedy}"):
        Engine("cpu", precision=precision)


def test_network_stays_loaded(phantom, segmentation_package, tmp_path):
    folder = shutil.copytree(segmentation_package.path, tmp_path / "model")
    package = open_package(folder)
    engine = Engine("cpu", "torch")
    first = engine.segment(phantom, package)
    (folder / "weights.safetensors").unlink()
    assert np.array_equal(engine.segment(phantom, package).labels.array, first.labels.array)
    with pytest.raises(ModelError, match=r"lacks weights\.safetensors"):
        Engine("cpu", "torch").segment(phantom, package)


def test_input_is_left_as_it_was(engine, phantom, sided_package):
    before = phantom.array.copy()
    engine.segment(phantom, sided_package)
    assert np.array_equal(phantom.array, before)


# --- memory ------------------------------------------------------------------------------------------------------


@pytest.fixture
def large_patch(tmp_path):
    """A model whose patch holds the phantom; smaller ones give nearly the same labels."""
    return write_segmentation_package(tmp_path / "large", patch=(32, 64, 32))


def test_patch_is_reduced_until_the_job_fits(engine, phantom, large_patch):
    need = engine.estimate_memory(phantom, large_patch).total
    expected = engine.segment(phantom, large_patch)
    assert expected.provenance.notices == ()
    result = Engine("cpu", "torch", memory_limit=need - 1).segment(phantom, large_patch)
    assert result.provenance.notices == ("patch reduced from 32x64x32 to 32x32x32 voxels to fit the memory",)
    assert (result.labels.array == expected.labels.array).mean() > 0.99


def test_job_that_fits_in_no_way_is_refused_before_work_starts(phantom, large_patch):
    events = []
    with pytest.raises(MemoryPlanError, match=r"needs at least .* can be used \(the limit that was given\): close"):
        Engine("cpu", "torch", memory_limit=100_000).segment(phantom, large_patch, on_progress=events.append)
    assert events == []


def test_estimate_covers_what_is_taken(tmp_path):
    """In a process of its own, whose peak is the job's."""
    manifest = random_manifest("segmentation", outputs=4, base_width=4, patch=(32, 32, 32), spacing=(4.0, 4.0, 4.0))
    package = write_random_package(tmp_path / "model", manifest)
    code = """
import sys, threading
import numpy as np
import psutil
from NNMambaLib.engine import Engine
from NNMambaLib.volumes.volume import Volume

def watch():
    while not done.wait(0.002):
        taken.append(psutil.Process().memory_info().rss)

voxels = np.random.default_rng(0).integers(0, 1000, (1, 180, 200, 220)).astype(np.int16)
volume = Volume(voxels, np.diag([0.5, 0.5, 0.5, 1.0]))
engine = Engine("cpu")
engine.segment(Volume(voxels[:, :70, :70, :70].copy(), volume.matrix), sys.argv[1], pad_small=True)
taken, done = [psutil.Process().memory_info().rss], threading.Event()
watcher = threading.Thread(target=watch)
watcher.start()
engine.segment(volume, sys.argv[1], pad_small=True)
done.set()
watcher.join()
print(max(taken) - taken[0], engine.estimate_memory(volume, sys.argv[1]).total)
"""
    environment = {"PYTHONPATH": str(Path(engine_module.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(package.path)], capture_output=True, text=True, env=environment
    )
    taken, estimate = (int(number) for number in done.stdout.split())
    assert taken < estimate < 3 * taken, done.stderr


def test_estimate_grows_with_what_is_asked_for(engine, phantom, segmentation_package):
    labels = engine.estimate_memory(phantom, segmentation_package).total
    uncertain = engine.estimate_memory(phantom, segmentation_package, uncertainty=True).total
    everything = engine.estimate_memory(phantom, segmentation_package, probabilities=True, uncertainty=True).total
    assert phantom.array.nbytes < labels < uncertain < everything


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
    ids=["device", "Python", "host"],
)
def test_memory_that_runs_out_is_answered_with_a_smaller_patch(engine, phantom, large_patch, monkeypatch, error):
    forward, sizes = EncoderDecoder.forward, []

    def forward_with_little_memory(network, x):
        sizes.append(tuple(x.shape[2:]))
        if x.shape[3] > 32:
            raise error
        return forward(network, x)

    monkeypatch.setattr(EncoderDecoder, "forward", forward_with_little_memory)
    result = engine.segment(phantom, large_patch)
    assert sizes == [(32, 64, 32)] + [(32, 32, 32)] * 3
    assert result.provenance.notices == (
        "patch reduced from 32x64x32 to 32x32x32 voxels to fit the memory",
        "memory ran out at first, and the job was run again with less",
    )
    assert result.labels.array.any()


def test_what_a_failed_attempt_held_is_free_before_the_next(engine, phantom, large_patch, monkeypatch):
    forward, held, left = EncoderDecoder.forward, [], []

    def forward_with_little_memory(network, x):
        if x.shape[3] > 32:
            tile = x.clone()
            held.append(weakref.ref(tile))
            raise MemoryError
        left.append(held[0]() is not None)
        return forward(network, x)

    monkeypatch.setattr(EncoderDecoder, "forward", forward_with_little_memory)
    engine.segment(phantom, large_patch)
    assert left
    assert not any(left)


def test_memory_that_runs_out_with_the_smallest_patch_is_an_error(engine, phantom, large_patch, monkeypatch):
    def fail(network, x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(EncoderDecoder, "forward", fail)
    with pytest.raises(MemoryPlanError):
        engine.segment(phantom, large_patch)


def test_other_errors_are_not_taken_for_a_lack_of_memory(engine, phantom, large_patch, monkeypatch):
    def fail(network, x):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(EncoderDecoder, "forward", fail)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        engine.segment(phantom, large_patch)


def test_classifiers_patch_is_never_reduced(engine, tmp_path):
    """It sees the whole patch or nothing: half of a head is another question."""
    package = write_random_package(tmp_path, random_manifest("classification", base_width=2, patch=(64, 64, 64)))
    volume = Volume(np.random.default_rng(0).normal(size=(1, 64, 64, 64)).astype(np.float32), np.eye(4))
    need = engine.estimate_memory(volume, package).total
    with pytest.raises(MemoryPlanError):
        Engine("cpu", "torch", memory_limit=need - 1).classify(volume, package)


# --- what suits which task ---------------------------------------------------------------------------------------


def test_each_task_wants_a_model_of_its_own(engine, phantom, segmentation_package, tmp_path):
    for run in (engine.detect_landmarks, engine.classify):
        with pytest.raises(ModelError, match="nearest-number is for segmentation, not for"):
            run(phantom, segmentation_package)
    landmarks = write_landmarks_package(tmp_path)
    with pytest.raises(ModelError, match="brightest-point is for landmarks, not for segmentation"):
        engine.segment(phantom, landmarks)


# --- what cannot be used -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, -0.5, 1.5, float("nan")])
def test_step_is_checked_for_landmarks_too(engine, phantom, tmp_path, step):
    with pytest.raises(VolumeError, match="step is"):
        engine.detect_landmarks(sample(bright_points, _SHAPE, _MATRIX), write_landmarks_package(tmp_path), step=step)


def test_no_volume_is_refused(engine, segmentation_package):
    with pytest.raises(VolumeError, match="No volume was given"):
        engine.segment([], segmentation_package)


def test_outputs_that_are_no_numbers_are_refused(engine, phantom, segmentation_package, monkeypatch):
    monkeypatch.setattr(EncoderDecoder, "forward", lambda network, x: x.new_full((1, 4, *x.shape[2:]), float("nan")))
    with pytest.raises(ModelError, match="outputs are not finite"):
        engine.segment(phantom, segmentation_package)

"""Small data folders, as users of `nnmamba train` have them, of phantoms on oblique, flipped and anisotropic grids."""

import json

import numpy as np

from helpers.phantoms import LANDMARKS, bodies, grid_matrix, oblique_rotation, sample, voxel_positions
from NNMambaLib.volumes.files import write_volume
from NNMambaLib.volumes.volume import Volume

LABELS = {"background": 0, "body": 1, "lesion": 2}
LANDMARK_NAMES = ("front", "side", "top")
# Tiny networks on few, coarse voxels: a few steps take seconds.
CONFIGURATION = {
    "base_width": 4,
    "patch": [32, 32, 32],
    "spacing": [3.5, 3.5, 3.5],
    "steps": 4,
    "warm_up_steps": 1,
    "checkpoint_every": 2,
    "validate_every": 2,
    "average_decay": 0.9,
    "workers": 0,
    "validation_fraction": 0.34,
}
_GRIDS = (
    ("LPS", (3.2, 3.5, 4.4), 30),
    ("RAS", (3.0, 3.0, 6.0), 0),
    ("ASL", (4.5, 3.1, 3.3), 12),
    ("LPI", (3.6, 3.6, 3.6), -20),
    ("RPS", (3.3, 4.0, 5.0), 5),
)


def phantom_grid(number):
    """Return the shape (z, y, x) and the matrix of the grid of a case: all different."""
    orientation, spacing, degrees = _GRIDS[number % len(_GRIDS)]
    shape = tuple(round(100 / step) for step in reversed(spacing))
    return shape, grid_matrix(orientation, spacing, shape, oblique_rotation(degrees))


def write_segmentation_folder(folder, cases=3, channels=("T1", "T2")):
    """Write a raw data folder of nnU-Net v2: a body with a lesion, in two channels."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    write_description(folder, channels, numTraining=cases)
    for number in range(cases):
        shape, matrix = phantom_grid(number)
        for channel in range(len(channels)):
            noise = 0.05 * np.random.default_rng(number).standard_normal((1, *shape))
            array = (bodies(voxel_positions(shape, matrix))[None] * (1 + channel) + noise).astype(np.float32)
            write_volume(Volume(array, matrix), folder / "imagesTr" / f"case{number}_{channel:04d}.nii.gz")
        labels = np.digitize(bodies(voxel_positions(shape, matrix)), (0.7, 2.0)).astype(np.uint8)
        write_volume(Volume(labels[None], matrix), folder / "labelsTr" / f"case{number}.nii.gz")
    return folder


def write_description(folder, channels=("T1", "T2"), **changes):
    content = {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": LABELS,
        "file_ending": ".nii.gz",
        "numTraining": 3,
        **changes,
    }
    kept = {key: value for key, value in content.items() if value is not None}
    (folder / "dataset.json").write_text(json.dumps(kept), encoding="utf-8")


def write_landmarks_folder(folder, cases=3):
    """Write volumes with markups of three landmarks, of which the first case lacks the last."""
    folder.mkdir(parents=True)
    for number in range(cases):
        write_volume(sample(bodies, *phantom_grid(number)), folder / f"case{number}.nrrd")
        found = dict(zip(LANDMARK_NAMES, LANDMARKS, strict=True))
        if number == 0:
            found["top"] = None
        write_markups(folder / f"case{number}.mrk.json", found, ras=number == 1)
    return folder


def write_markups(path, places, ras=False):
    """Write a markups file of LPS positions by name, None for an undefined one; in RAS where asked for."""
    signs = np.array([-1, -1, 1]) if ras else np.ones(3)
    points = [
        {
            "label": name,
            "position": [0, 0, 0] if place is None else (np.asarray(place) * signs).tolist(),
            "positionStatus": "undefined" if place is None else "defined",
        }
        for name, place in places.items()
    ]
    content = {"markups": [{"type": "Fiducial", "coordinateSystem": "RAS" if ras else "LPS", "controlPoints": points}]}
    path.write_text(json.dumps(content), encoding="utf-8")


def write_classes_folder(folder, cases=5):
    """Write volumes that are dark or bright, with a table of that and of a second target that is not always known."""
    folder.mkdir(parents=True)
    rows = ["case,class,size"]
    for number in range(cases):
        shape, matrix = phantom_grid(number)
        bright = number % 2
        array = bodies(voxel_positions(shape, matrix)).astype(np.float32)[None] ** (1 + bright)
        write_volume(Volume(array, matrix), folder / f"case{number}.nii.gz")
        rows.append(f"case{number},{'bright' if bright else 'dark'},{('large', 'small', '')[number % 3]}")
    (folder / "classes.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def write_configuration(path, **changes):
    path.write_text(json.dumps({**CONFIGURATION, **changes}), encoding="utf-8")
    return path

"""The settings of a training in words: for help, and as a TOML file with comments that `read_configuration` reads."""

from __future__ import annotations

import json
import textwrap

from NNMambaLib.training.configuration import Configuration, as_json

_WIDTH = 100
SETTINGS = {
    "steps": "optimizer steps in all",
    "batch_size": "samples of a step in each process; on a CPU, one alone is slow",
    "optimizer": "adamw, or sgd with Nesterov's momentum of 0.99",
    "learning_rate": "the largest",
    "schedule": "how the rate falls to zero after the warm-up: cosine, or poly (power 0.9)",
    "warm_up_steps": "steps over which the rate rises linearly",
    "weight_decay": "of the optimizer",
    "clip_norm": "largest norm of the gradient",
    "average_decay": "decay a step of the moving average of the weights, which is what is packaged",
    "precision": "float32, bfloat16, or float16 (CUDA only); weights stay in float32",
    "seed": "of the first weights, of what is random in a step, of the samples, and of the split",
    "workers": "processes that make samples; 0 makes them in the training process",
    "checkpoint_every": "steps between checkpoints, and between points of the curves",
    "validate_every": "steps between validations, a multiple of checkpoint_every",
    "variant": "of the network; by default the published one, and for classification CLS-MAX, ours",
    "base_width": "channels after the stem: 32 in the published networks; memory and time grow with it",
    "patch": "voxels (x, y, z) that the network sees at a time, each divisible by 16; by default those of the median "
    "volume, at most 128, and for classification of the largest, at most 192",
    "spacing": "mm (x, y, z) that volumes are resampled to; by default the median of the data",
    "deep_supervision": "of a segmentation: coarser stages of the decoder are trained, too",
    "normalization": "of intensities: z-score, percentile (0.5 and 99.5), ct, none, or auto: by the channel's name in "
    "dataset.json, else z-score",
    "mirror_axes": 'axes along which samples are mirrored; leave out "x" where left and right are told apart',
    "augment": "deform samples and change their intensities at random",
    "foreground": "fraction of the samples that contain a given label or landmark; the others lie anywhere",
    "heatmap_sigma": "of the Gaussian about a landmark, in voxels",
    "validation_fraction": "fraction of the subjects that is kept for validation; 0 for none",
}


def settings_help() -> str:
    """Return a line or more for each setting: its name, its default and what it is."""
    defaults = as_json(Configuration())
    lines = ["settings (--config FILE, --set KEY=VALUE), with their defaults:"]
    for key, words in SETTINGS.items():
        default = "from the data" if defaults[key] is None else json.dumps(defaults[key])
        name = f"  {key} = {default}"
        lines += textwrap.wrap(f"{name}: {words}", _WIDTH, subsequent_indent="      ", break_on_hyphens=False)
    return "\n".join(lines)


def settings_file(configuration: Configuration) -> str:
    """Return a TOML file with every setting and a comment on it; what is left to the data is commented out."""
    values = as_json(configuration)
    lines = []
    for key, words in SETTINGS.items():
        lines += textwrap.wrap(words, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        value = values[key]
        lines += [f"# {key} =" if value is None else f"{key} = {json.dumps(value)}", ""]
    return "\n".join(lines)

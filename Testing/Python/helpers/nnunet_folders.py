"""Result folders as both versions of nnU-Net write them, with random weights of a narrow network."""

import json
import pickle
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import torch

_SCHEMES = {"CT": "CTNormalization", "z-score": "ZScoreNormalization", "none": "NoNormalization"}


def v2_plans(given):
    """Return plans.json for the reference's plans."""
    kwargs = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    low, high, mean, sd = (float(given.ct[key]) for key in ("low", "high", "mean", "sd"))
    properties = {"percentile_00_5": low, "percentile_99_5": high, "mean": mean, "std": sd, "median": mean}
    return {
        "dataset_name": "Dataset001_Test",
        "plans_name": "nnUNetPlans",
        "transpose_forward": list(given.transpose),
        "transpose_backward": [int(axis) for axis in np.argsort(given.transpose)],
        "configurations": {
            "3d_base": {
                "preprocessor_name": "DefaultPreprocessor",
                "patch_size": [999, 999, 999],
                "spacing": list(given.spacing),
                "normalization_schemes": [_SCHEMES[scheme] for scheme in given.schemes],
                "use_mask_for_norm": list(given.use_mask),
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": kwargs,
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": {**kwargs, "order": 1},
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_seg_kwargs": {**kwargs, "is_seg": True, "order": 1},
                "architecture": {"network_class_name": "nnMamba", "arch_kwargs": {}, "_kw_requires_import": []},
                "data_identifier": "nnUNetPlans_3d_fullres",
                "batch_size": 2,
                "batch_dice": True,
            },
            "3d_fullres": {"inherits_from": "3d_base", "patch_size": list(given.patch)},
        },
        "foreground_intensity_properties_per_channel": {str(n): properties for n in range(len(given.schemes))},
    }


def dataset_json(labels=3, channels=2):
    return {
        "channel_names": {str(n): f"sequence {n}" for n in range(channels)},
        "labels": {"background": 0, **{f"organ {n}": n for n in range(labels, 0, -1)}},
        "file_ending": ".nii.gz",
        "numTraining": 3,
    }


def write_v2_folder(folder, networks, given, plans=None, dataset=None, mirror_axes=(0, 1, 2)):
    """Write a result folder of version 2 with a fold for each network."""
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans or v2_plans(given)))
    (folder / "dataset.json").write_text(json.dumps(dataset or dataset_json()))
    for fold, network in enumerate(networks):
        (folder / f"fold_{fold}").mkdir()
        checkpoint = {
            "network_weights": network.state_dict(),
            "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01, "params": [0]}]},
            "grad_scaler_state": None,
            "logging": {"mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(-0.5)]},
            "_best_ema": np.float64(0.5),
            "current_epoch": 1000,
            "init_args": {
                "plans": v2_plans(given),
                "configuration": "3d_fullres",
                "fold": fold,
                "dataset_json": dataset_json(),
                "device": torch.device("cuda", 0),
            },
            "trainer_name": "nnUNetTrainernnMamba",
            "inference_allowed_mirroring_axes": mirror_axes,
        }
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def v1_plans(given, labels=3):
    """Return plans.pkl for the reference's plans, with numpy's numbers where nnU-Net has them."""
    properties = {
        "percentile_00_5": np.float64(given.ct["low"]),
        "percentile_99_5": np.float64(given.ct["high"]),
        "mean": np.float32(given.ct["mean"]),
        "sd": np.float64(given.ct["sd"]),
        "median": np.float64(0),
        "mn": -1.0,
        "mx": 1.0,
        "local_props": OrderedDict(case_1={"mean": np.float32(1)}),
    }
    names = {"CT": "CT", "z-score": "nonCT", "none": "noNorm"}
    channels = range(len(given.schemes))
    return {
        "num_stages": 1,
        "num_modalities": len(given.schemes),
        "modalities": dict.fromkeys(channels, "MR"),
        "normalization_schemes": OrderedDict((n, names[given.schemes[n]]) for n in channels),
        "use_mask_for_norm": OrderedDict((n, given.use_mask[n]) for n in channels),
        "dataset_properties": {"intensityproperties": OrderedDict((n, properties) for n in channels)},
        "num_classes": labels,
        "all_classes": list(range(1, labels + 1)),
        "transpose_forward": list(given.transpose),
        "transpose_backward": [int(axis) for axis in np.argsort(given.transpose)],
        "preprocessor_name": "GenericPreprocessor",
        "plans_per_stage": {
            0: {
                "patch_size": np.array(given.patch),
                "current_spacing": np.array(given.spacing),
                "original_spacing": np.array(given.spacing),
                "pool_op_kernel_sizes": [[2, 2, 2]] * 4,
                "do_dummy_2D_data_aug": False,
            }
        },
        "conv_per_stage": 2,
    }


def write_v1_folder(folder, networks, given, plans=None, trainer="nnUNetTrainerV2_mamba", postprocessing=None):
    """Write a result folder of version 1 with a fold for each network."""
    folder.mkdir(parents=True)
    plans = plans or v1_plans(given)
    (folder / "plans.pkl").write_bytes(pickle.dumps(plans, 4))
    if postprocessing is not None:
        (folder / "postprocessing.json").write_text(json.dumps(postprocessing))
    for fold, network in enumerate(networks):
        below = folder / f"fold_{fold}"
        below.mkdir()
        checkpoint = {
            "epoch": 1000,
            "state_dict": network.state_dict(),
            "optimizer_state_dict": {"state": {}, "param_groups": []},
            "lr_scheduler_state_dict": None,
            "plot_stuff": ([np.float32(0.5)], [np.float64(-0.5)], [], []),
            "best_stuff": (np.float64(0.5), np.float64(0.4), None),
        }
        torch.save(checkpoint, below / "model_final_checkpoint.model")
        described = OrderedDict(
            init=("plans.pkl", fold, "out", "data", True, None, True, False, True),
            name=trainer,
            **{"class": f"<class 'nnunet.{trainer}'>"},
            plans=plans,
        )
        (below / "model_final_checkpoint.model.pkl").write_bytes(pickle.dumps(described, 4))
    return folder


def changed(plans, **values):
    """Return plans with other values at places such as ``configurations__3d_base__spacing``."""
    content = json.loads(json.dumps(plans))
    for place, value in values.items():
        *way, last = place.split("__")
        part = content
        for key in way:
            part = part[key]
        if value is None and last in part:
            del part[last]
        else:
            part[last] = value
    return content


def other(given, **values):
    return replace(given, **values)

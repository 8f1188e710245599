"""From a checkpoint to an installed model package, with what was found and assumed on its card."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from dataclasses import replace as with_fields
from pathlib import Path

import torch

from NNMambaLib import __version__
from NNMambaLib.errors import ModelError
from NNMambaLib.models.imports import nnunet_v1, nnunet_v2
from NNMambaLib.models.imports.questions import Answers, Pipeline, complete
from NNMambaLib.models.imports.result_folder import ResultFolder
from NNMambaLib.models.imports.weights_file import WeightsFile, open_weights, with_counts
from NNMambaLib.models.installation import install_package
from NNMambaLib.models.limits import MAX_NAME
from NNMambaLib.models.manifest import Manifest
from NNMambaLib.models.package import ModelPackage, write_package
from NNMambaLib.networks.description import NetworkDescription
from NNMambaLib.networks.state_dicts import expand_shared_layers, recognize
from NNMambaLib.networks.variants import VARIANTS, build
from NNMambaLib.runtime.leftovers import temporary_prefix

_LICENCE = "not stated in the file: ask its authors before you use or hand it on"
_INTENDED_USE = "Research use only. What the model can do is known only from its authors, and was not measured here."


@dataclass(frozen=True)
class Imported:
    """A package made of a checkpoint.

    Attributes:
        package: as it was installed.
        found: what the file said, in sentences.
        assumed: what it did not say and was taken to be so.
    """

    package: ModelPackage
    found: tuple[str, ...]
    assumed: tuple[str, ...]


def import_model(
    path: str | Path,
    name: str | None,
    answers: Answers,
    replace: bool = False,
    fold: str | None = None,
    without: Collection[str] = (),
) -> Imported:
    """Make a model package of a checkpoint or a result folder of nnU-Net, and install it in the user's folder.

    Args:
        name: of the model; None makes one of the file's name.
        answers: what the checkpoint does not say.
        replace: replace an installed model of the same name, which is refused otherwise.
        fold: of a result folder, that one alone, a number or "all"; None takes all folds.
        without: steps of a result folder that are to be left out: ``postprocessing``.

    Raises:
        ModelError: if the file holds no weights of nnMamba, asks for anything but data, or leaves questions open.
        OutputError: if the package cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        folder = _read_folder(path, answers, fold, without)
        members = [open_weights(weights) for weights in folder.weights]
        pipeline = _of_folder(folder)
    else:
        members, pipeline = [open_weights(path)], None
    description = _description(members, pipeline)
    pipeline = pipeline or complete(description, answers, str(path))
    _check_labels(description, pipeline, path)
    found = (*pipeline.told, *members[0].found, *_told_by(description))
    manifest = _manifest(path, members, name, description, pipeline, found)
    network, half = _network(members, description)
    with tempfile.TemporaryDirectory(prefix=temporary_prefix()) as temporary:
        write_package(temporary, manifest, network, half, _card(manifest, path, found, pipeline.assumed))
        package = install_package(temporary, replace).package
    return Imported(package, found, pipeline.assumed)


def _read_folder(path: Path, answers: Answers, fold: str | None, without: Collection[str]) -> ResultFolder:
    if answers.preset or answers.spacing or answers.normalization or answers.patch or answers.channels:
        raise ModelError(
            f"{path} is a result folder, which says itself how its model is run: give --labels and --name alone."
        )
    if (path / nnunet_v2.PLANS_FILE).is_file():
        return nnunet_v2.read_v2_folder(path, fold)
    if (path / nnunet_v1.PLANS_FILE).is_file():
        return nnunet_v1.read_v1_folder(path, fold, answers.names, without)
    raise ModelError(
        f"{path} holds neither {nnunet_v2.PLANS_FILE} nor {nnunet_v1.PLANS_FILE}: give a result folder of nnU-Net (the "
        "one with fold_0 in it), or a checkpoint."
    )


def _of_folder(folder: ResultFolder) -> Pipeline:
    return Pipeline("segmentation", folder.input, {"labels": folder.labels}, folder.assumed, folder.found)


def _description(members: list[WeightsFile], pipeline: Pipeline | None) -> NetworkDescription:
    """Return the network that all the weights belong to."""
    descriptions = [recognize(with_counts(member.tensors)) for member in members]
    for member, description in zip(members, descriptions, strict=True):
        if description != descriptions[0]:
            raise ModelError(
                f"{member.path} is of another network ({description.variant}) than {members[0].path} "
                f"({descriptions[0].variant}): choose one of them (--fold)."
            )
    if len(members) == 1 or pipeline is None:
        return descriptions[0]
    return with_fields(descriptions[0], members=len(members), members_average=pipeline.input.averages)


def _check_labels(description: NetworkDescription, pipeline: Pipeline, path: Path) -> None:
    """Refuse a folder whose plans are not those of its weights."""
    channels, labels = len(pipeline.input.channels), pipeline.outputs.get("labels")
    if channels != description.in_channels or (labels is not None and len(labels) + 1 != description.out_channels):
        raise ModelError(
            f"{path} says {channels} channels and {len(labels or ())} labels, and its weights take "
            f"{description.in_channels} and give {description.out_channels} outputs: the files do not belong together."
        )


def _told_by(description: NetworkDescription) -> tuple[str, ...]:
    sizes = f"{description.in_channels} in, {description.out_channels} out, width {description.base_width}"
    own = [
        f"{key} {size}" for key in ("d_state", "d_conv", "expand") if (size := getattr(description, key)) is not None
    ]
    heads = f", deep supervision heads of {description.head_channels}" if description.head_channels else ""
    return (
        f"the network {description.variant} ({VARIANTS[description.variant].summary}): {sizes}{heads}"
        + "".join(f", {size}" for size in own)
        + ", told by the names and shapes of its weights",
    )


def _network(members: list[WeightsFile], description: NetworkDescription) -> tuple[torch.nn.Module, bool]:
    """Return the network with its weights, and whether half precision holds them all."""
    state, types = {}, set()
    for number, member in enumerate(members):
        prefix = f"members.{number}." if len(members) > 1 else ""
        for key, value in member.read().items():
            types |= {value.dtype} if value.is_floating_point() else set()
            state[prefix + key] = value.float() if value.is_floating_point() else value
    with torch.device("meta"):
        network = build(description)
    network.load_state_dict(expand_shared_layers(state), assign=True)
    return network.eval(), types == {torch.float16}


def _manifest(
    path: Path,
    members: list[WeightsFile],
    name: str | None,
    description: NetworkDescription,
    pipeline: Pipeline,
    found: tuple[str, ...],
) -> Manifest:
    # A folder's name may have dots in it.
    stem = path.resolve().name if path.is_dir() else path.stem
    name = name or re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("._-")[:MAX_NAME] or "imported"
    return Manifest(
        name=name,
        version="1.0.0",
        title=f"{name}, imported",
        description=f"{VARIANTS[description.variant].summary}, imported from {path.name!a}.",
        task=pipeline.task,
        network=description,
        input=pipeline.input,
        licence=_LICENCE,
        intended_use=_INTENDED_USE,
        provenance={
            "source": ascii(path.name)[1:-1],
            "sha256": [_digest(member.path) for member in members],
            "found": list(found),
            "assumed": list(pipeline.assumed),
            "imported_by": f"nnmamba {__version__}",
        },
        **pipeline.outputs,
    )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error}): check its permissions.") from error


def _card(manifest: Manifest, path: Path, found: tuple[str, ...], assumed: tuple[str, ...]) -> str:
    lines = [
        f"# {manifest.name}",
        "",
        f"Imported from `{ascii(path.name)[1:-1]}`. {manifest.intended_use} Licence: {manifest.licence}.",
        "",
        "Found in the file:",
        *(f"- {entry}" for entry in found),
        "",
        "Assumed, because the file does not say it:",
        *(f"- {entry}" for entry in assumed),
    ]
    return "\n".join(lines) + "\n"

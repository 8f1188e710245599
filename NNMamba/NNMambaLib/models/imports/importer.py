"""From a checkpoint to an installed model package, with what was found and assumed on its card."""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from NNMambaLib import __version__
from NNMambaLib.errors import ModelError
from NNMambaLib.models.imports.questions import Answers, Pipeline, complete
from NNMambaLib.models.imports.weights_file import WeightsFile, open_weights, with_counts
from NNMambaLib.models.installation import install_package
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


def import_model(path: str | Path, name: str | None, answers: Answers, replace: bool = False) -> Imported:
    """Make a model package of a checkpoint, and install it in the user's folder.

    Args:
        name: of the model; None makes one of the file's name.
        answers: what the checkpoint does not say.
        replace: replace an installed model of the same name, which is refused otherwise.

    Raises:
        ModelError: if the file holds no weights of nnMamba, asks for anything but data, or leaves questions open.
        OutputError: if the package cannot be written.
    """
    weights = open_weights(path)
    description = recognize(with_counts(weights.tensors))
    pipeline = complete(description, answers, str(weights.path))
    found = (*weights.found, *_told_by(description), *pipeline.told)
    manifest = _manifest(weights.path, name, description, pipeline, found)
    network, half = _network(weights, description)
    with tempfile.TemporaryDirectory(prefix=temporary_prefix()) as folder:
        write_package(folder, manifest, network, half, _card(manifest, weights.path, found, pipeline.assumed))
        package = install_package(folder, replace).package
    return Imported(package, found, pipeline.assumed)


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


def _network(weights: WeightsFile, description: NetworkDescription) -> tuple[torch.nn.Module, bool]:
    """Return the network with its weights, and whether half precision holds them all."""
    state = weights.read()
    half = {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float16}
    with torch.device("meta"):
        network = build(description)
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    network.load_state_dict(expand_shared_layers(state), assign=True)
    return network.eval(), half


def _manifest(
    path: Path, name: str | None, description: NetworkDescription, pipeline: Pipeline, found: tuple[str, ...]
) -> Manifest:
    name = name or re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("._-") or "imported"
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
            "sha256": _digest(path),
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

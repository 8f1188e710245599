"""Run SAMSEG and rasterize its atlas (Puonti et al., NeuroImage 2016).

This is the one file that needs the `samseg` package. That package pins an older numpy, so it belongs in a virtual
environment of its own:

    python -m NNMambaBrainModels.heads.samseg_atlas --output DIR --segment ch2=PATH --segment 09c=PATH

writes DIR/atlas_priors.npz and, for every volume named, DIR/NAME.nii.gz with FreeSurfer codes on the volume's grid.
"""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from NNMambaBrainModels.command_line import command_parser
from NNMambaLib.files import atomic_file
from NNMambaLib.runtime.child_python import child_environment

if TYPE_CHECKING:
    from nibabel.spatialimages import SpatialImage

ATLAS_FOLDER = "20Subjects_smoothing2_down2_smoothingForAffine2"
PRIORS_FILE = "atlas_priors.npz"
_RASTERIZE_ALL_LABELS = -1


def atlas_folder() -> Path:
    """Return the folder of the 20-subject atlas inside the installed `samseg` package."""
    import samseg  # type: ignore[reportMissingImports] # lives in an environment of its own

    return Path(samseg.__path__[0]) / "atlas" / ATLAS_FOLDER


def rasterize_priors(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the prior probability of every structure on the grid of the atlas's template volume.

    Probabilities (x, y, z, K) are uint16, where 65535 means one; then FreeSurfer codes (K,), and the template's 4x4
    matrix from voxel index to RAS mm.
    """
    import nibabel
    from samseg import gems  # type: ignore[reportMissingImports] # lives in an environment of its own

    template = cast("SpatialImage", nibabel.load(folder / "template.nii.gz"))
    assert template.affine is not None, "NIfTI files have one"
    collection = gems.KvlMeshCollection()
    collection.read(str(folder / "atlas_level2.txt.gz"))
    priors = np.asarray(collection.reference_mesh.rasterize(template.shape, _RASTERIZE_ALL_LABELS), dtype=np.uint16)
    return priors, _freesurfer_codes(folder / "compressionLookupTable.txt"), template.affine


def segment(volume: Path, output: Path, threads: int) -> None:
    """Segment a head MR volume with SAMSEG and write the label map, FreeSurfer codes, as NIfTI.

    Raises:
        subprocess.CalledProcessError: if SAMSEG fails.
    """
    import nibabel

    work = output.with_suffix("").with_suffix("")
    command = [str(Path(sys.executable).with_name("run_samseg")), "-i", str(volume), "-o", str(work)]
    subprocess.run([*command, "--threads", str(threads)], check=True, env=child_environment())
    result = cast("SpatialImage", nibabel.load(work / "seg.mgz"))
    codes = np.asarray(result.dataobj).astype(np.int16)
    with atomic_file(output) as temporary:
        nibabel.save(nibabel.Nifti1Image(codes, result.affine), temporary)


def _freesurfer_codes(lookup_table: Path) -> np.ndarray:
    """Return the FreeSurfer code of each compressed label, in the order of the atlas's label axis."""
    rows = [line.split() for line in lookup_table.read_text().splitlines() if line.strip()]
    by_label = {int(row[1]): int(row[0]) for row in rows}
    return np.array([by_label[label] for label in range(len(by_label))], dtype=np.int16)


def main(arguments: list[str] | None = None) -> None:
    """Run the command that the module's docstring describes."""
    parser = command_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--segment", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)

    options.output.mkdir(parents=True, exist_ok=True)
    priors, codes, index_to_ras = rasterize_priors(atlas_folder())
    with atomic_file(options.output / PRIORS_FILE) as temporary:
        np.savez_compressed(temporary, priors=priors, codes=codes, index_to_ras=index_to_ras)
    for item in options.segment:
        name, _, path = item.partition("=")
        segment(Path(path), options.output / f"{name}.nii.gz", options.threads)


if __name__ == "__main__":
    main()

"""NIfTI-1 and NIfTI-2 headers: read with the geometry that nibabel and FSL take, and written with one in both forms.

Source: https://nifti.nimh.nih.gov (the fields' meaning: nifti1.h and nifti2.h).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from NNMambaLib.errors import OutputError, VolumeError
from NNMambaLib.volumes.volume import LPS_TO_RAS, Grid, Volume, straightened
from NNMambaLib.volumes.voxel_data import decoded_start
from NNMambaLib.volumes.voxel_file import Part, VoxelFile, check_dimensions, cut_short, damaged

_FIELDS_1 = {
    "sizeof_hdr": ("i4", 0), "dim": ("8i2", 40), "intent_code": ("i2", 68), "datatype": ("i2", 70),
    "bitpix": ("i2", 72), "pixdim": ("8f4", 76), "vox_offset": ("f4", 108), "scl_slope": ("f4", 112),
    "scl_inter": ("f4", 116), "xyzt_units": ("u1", 123), "qform_code": ("i2", 252), "sform_code": ("i2", 254),
    "quatern": ("3f4", 256), "qoffset": ("3f4", 268), "srow": ("(3,4)f4", 280), "magic": ("S4", 344),
}  # fmt: skip
_FIELDS_2 = {
    "sizeof_hdr": ("i4", 0), "magic": ("S8", 4), "datatype": ("i2", 12), "bitpix": ("i2", 14), "dim": ("8i8", 16),
    "pixdim": ("8f8", 104), "vox_offset": ("i8", 168), "scl_slope": ("f8", 176), "scl_inter": ("f8", 184),
    "qform_code": ("i4", 344), "sform_code": ("i4", 348), "quatern": ("3f8", 352), "qoffset": ("3f8", 376),
    "srow": ("(3,4)f8", 400), "xyzt_units": ("i4", 500), "intent_code": ("i4", 504),
}  # fmt: skip
_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 32: "c8", 64: "f8", 128: "3u1", 256: "i1", 512: "u2", 768: "u4",
    1024: "i8", 1280: "u8", 1536: "g", 1792: "c16", 2304: "4u1",
}  # fmt: skip
_CODES = {np.dtype(name): code for code, name in _TYPES.items() if code not in (128, 1536, 2304)}
_NAMES = {0: "unknown", 1: "binary", 1536: "128-bit floating point", 2048: "256-bit complex"}
_VECTOR = 1007
_UNITS = {1: ("metres", 1e3), 3: ("micrometres", 1e-3)}
_MILLIMETRES = 2
_SCANNER = 1


def parse(path: Path) -> VoxelFile:
    """Return what a file's header says.

    The geometry is the sform's where it has a code, else the qform's, else that of nibabel without either: voxels of
    `pixdim` about the origin, x to the left. Where two of them differ by more than rounding, or both forms are
    missing, a notice says so.

    Raises:
        VolumeError: if it is not a NIfTI header of a 3-D volume, or contradicts itself.
    """
    start, encoding = decoded_start(path, 540)
    header = _fields(path, start)
    axes = int(header["dim"][0])
    if not 1 <= axes <= 7:
        raise damaged(path, f"it says that it has {axes} dimensions")
    sizes = [int(size) for size in header["dim"][1 : axes + 1]]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    # Components of a vector are the fifth axis, after time.
    channels = sizes.pop() if len(sizes) == 5 and sizes[3] == 1 else None
    spatial = sizes[:3] if channels else sizes
    check_dimensions(path, len(spatial))
    dtype, components = _stored_type(path, header)
    if components > 1 and channels:
        raise damaged(path, "it has colours and a fifth dimension")
    shape = (*([channels] if channels else []), *reversed(spatial), *([components] if components > 1 else []))
    matrix, notices = _geometry(path, header, spatial)
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        slope, intercept = 1.0, 0.0
    offset = _offset(path, header)
    return VoxelFile(
        path,
        shape,
        channel_axis=0 if channels else 3 if components > 1 else None,
        dtype=dtype,
        matrix=matrix,
        parts=(Part(path, offset if encoding == "raw" else 0),),
        encoding=encoding,
        skip=0 if encoding == "raw" else offset,
        slope=slope,
        intercept=intercept,
        notices=tuple(notices),
    )


def compose(volume: Volume, dtype: np.dtype) -> bytes:
    """Return the header, of NIfTI-1, of a volume whose voxels follow it, channel by channel; sform and qform agree.

    Args:
        dtype: in which the voxels are stored.

    Raises:
        OutputError: if the format has no room for it.
    """
    depth, height, width = volume.grid.shape
    if max(depth, height, width, volume.channels) > np.iinfo(np.int16).max:
        raise OutputError(f"{volume.name} has more than 32767 voxels along an axis, too many for NIfTI: use .nrrd.")
    header: Any = np.zeros((), _record(_FIELDS_1, 348, "<"))
    several = volume.channels > 1
    header["sizeof_hdr"], header["magic"], header["vox_offset"] = 348, b"n+1", 352
    header["dim"] = (5 if several else 3, width, height, depth, 1, volume.channels, 1, 1)
    header["intent_code"] = _VECTOR if several else 0
    dtype = dtype.newbyteorder("=")
    if dtype not in _CODES:
        raise OutputError(f"{volume.name} holds numbers of type {dtype}, which NIfTI cannot hold: use .nrrd.")
    header["datatype"], header["bitpix"] = _CODES[dtype], 8 * dtype.itemsize
    header["scl_slope"], header["xyzt_units"] = 1, _MILLIMETRES
    affine = LPS_TO_RAS @ volume.matrix
    spacing = np.array(volume.grid.spacing)
    rotation = affine[:3, :3] / spacing
    handedness = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    header["pixdim"] = (handedness, *spacing, *[1] * 4)
    header["quatern"] = _quaternion(rotation * (1, 1, handedness))[1:]
    header["qform_code"] = header["sform_code"] = _SCANNER
    header["qoffset"], header["srow"] = affine[:3, 3], affine[:3]
    return header.tobytes() + bytes(4)


def _fields(path: Path, start: bytes) -> Any:
    if len(start) < 348:
        raise cut_short(path, "within its header")
    for order in "<>":
        length = int(np.frombuffer(start, order + "i4", 1)[0])
        if length == 540 and len(start) >= 540:
            header = np.frombuffer(start, _record(_FIELDS_2, 540, order), 1)[0]
            _check_magic(path, bytes(header["magic"])[:3], (b"n+2", b"ni2"))
            return header
        if length == 348:
            header = np.frombuffer(start, _record(_FIELDS_1, 348, order), 1)[0]
            _check_magic(path, bytes(header["magic"])[:3], (b"n+1", b"ni1"))
            return header
    raise damaged(path, "it does not start with a NIfTI header")


def _check_magic(path: Path, magic: bytes, names: tuple[bytes, bytes]) -> None:
    if magic == names[1]:
        raise VolumeError(f"{path} is the header of a pair .hdr and .img: convert the pair to one .nii.gz file.")
    if magic != names[0]:
        raise VolumeError(
            f"{path} is not NIfTI but perhaps Analyze 7.5, which does not say left from right: convert it."
        )


def _record(fields: dict[str, tuple[str, int]], size: int, order: str) -> np.dtype:
    record = np.dtype(
        {
            "names": list(fields),
            "formats": [form for form, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": size,
        }
    )
    return record.newbyteorder(">" if order == ">" else "<")


def _stored_type(path: Path, header: Any) -> tuple[np.dtype, int]:
    """Return the type of one stored number, and how many make a voxel."""
    code = int(header["datatype"])
    name = _TYPES.get(code)
    if name is None or (name == "g" and np.dtype("g").itemsize != 16):
        raise VolumeError(
            f"{path} holds voxels of the type {_NAMES.get(code, code)}, which cannot be read here: save it as float32."
        )
    components = int(name[0]) if name[0].isdigit() else 1
    dtype = np.dtype(name.lstrip("34")).newbyteorder(header.dtype["dim"].base.byteorder)
    if int(header["bitpix"]) != 8 * components * dtype.itemsize:
        raise damaged(path, f"it has {int(header['bitpix'])} bits for a voxel of {8 * components * dtype.itemsize}")
    return dtype, components


def _offset(path: Path, header: Any) -> int:
    offset, least = float(header["vox_offset"]), 352 if int(header["sizeof_hdr"]) == 348 else 544
    if offset == 0:
        return least
    if not np.isfinite(offset) or not least - 4 <= offset < 2**40:
        raise damaged(path, f"its voxels start at byte {offset:g}")
    return int(offset)


def _geometry(path: Path, header: Any, sizes: list[int]) -> tuple[np.ndarray, list[str]]:
    """Return the matrix, voxel index to LPS in mm, and what had to be decided about it."""
    spacing = np.abs(header["pixdim"][1:4].astype(float))
    if not (spacing > 0).all():
        raise VolumeError(f"{path} has a voxel spacing of zero along some axis: correct its header.")
    unit = int(header["xyzt_units"]) & 7
    notices = []
    sform = _sform(header) if header["sform_code"] > 0 else None
    qform = _qform(header, spacing) if header["qform_code"] > 0 else None
    if sform is not None and not _has_extent(sform):
        notices.append(f"{path.name} has an sform without extent, which was left out")
        sform = None
    if sform is not None:
        affine = sform
        steps = np.linalg.norm(sform[:3, :3], axis=0)
        if not np.allclose(steps, spacing, rtol=1e-3):
            notices.append(
                f"{path.name} has voxels of {_sizes(steps)} by its sform and of {_sizes(spacing)} by its pixdim: the "
                "sform was taken, as nibabel and FSL do"
            )
        if qform is not None:
            apart, rounding = _apart(sform, qform, sizes)
            if apart > rounding:
                notices.append(
                    f"{path.name} lies up to {apart:.3g} mm elsewhere by its qform than by its sform: the sform was "
                    "taken, as nibabel and FSL do"
                )
    elif qform is not None:
        affine = qform
    else:
        affine = _unplaced(spacing, sizes)
        notices.append(
            f"{path.name} says neither where it lies nor which side is left (sform and qform have no code): voxels of "
            f"{_sizes(spacing)} about the origin were taken, x to the left, as nibabel does"
        )
    if unit in _UNITS:
        name, factor = _UNITS[unit]
        affine = np.diag([factor, factor, factor, 1]) @ affine
        notices.append(f"{path.name} gives its geometry in {name}, which was converted to mm")
    matrix = LPS_TO_RAS @ affine
    straight, moved = straightened(Grid((sizes[2], sizes[1], sizes[0]), matrix))
    if moved:
        notices.append(f"{path.name} has axes that are off right angles by rounding: voxels moved by {moved:.2g} mm")
    return straight, notices


def _has_extent(affine: np.ndarray) -> bool:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return bool((lengths > 0).all() and abs(np.linalg.det(affine[:3, :3] / lengths)) > 1e-6)


def _sform(header: Any) -> np.ndarray:
    return np.vstack([header["srow"].astype(float), [0, 0, 0, 1]])


def _qform(header: Any, spacing: np.ndarray) -> np.ndarray:
    b, c, d = header["quatern"].astype(float)
    rest = 1 - (b * b + c * c + d * d)
    if rest < 1e-7:
        # Half a turn, its axis off by rounding.
        a, (b, c, d) = 0.0, np.array([b, c, d]) / max(np.sqrt(b * b + c * c + d * d), 1e-12)
    else:
        a = np.sqrt(rest)
    affine = np.eye(4)
    affine[:3, :3] = [
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ]
    handedness = -1 if header["pixdim"][0] < 0 else 1
    affine[:3, :3] *= spacing * (1, 1, handedness)
    affine[:3, 3] = header["qoffset"].astype(float)
    return affine


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """Return the unit quaternion (a, b, c, d), a >= 0, of a rotation (Bar-Itzhack, J. Guidance 23(6), 2000)."""
    m = rotation
    symmetric = np.array(
        [
            [m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]],
            [m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1]],
            [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1]],
        ]
    )
    quaternion = np.linalg.eigh(symmetric)[1][:, -1]
    return quaternion if quaternion[0] >= 0 else -quaternion


def _unplaced(spacing: np.ndarray, sizes: list[int]) -> np.ndarray:
    signed = spacing * (-1, 1, 1)
    affine = np.diag([*signed, 1.0])
    affine[:3, 3] = -(np.array(sizes) - 1) / 2 * signed
    return affine


def _apart(first: np.ndarray, second: np.ndarray, sizes: list[int]) -> tuple[float, float]:
    """Return the largest distance in mm between where two affines place a voxel, and what rounding may explain of it.

    A quaternion in single precision loses most near half a turn, there about 4e-4 rad.
    """
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in sizes], [1], indexing="ij"), float).reshape(4, -1)
    apart = np.linalg.norm(((first - second) @ corners)[:3], axis=0).max()
    spread = (first @ corners)[:3]
    diagonal = np.linalg.norm(spread.max(1) - spread.min(1))
    smallest = np.linalg.norm(first[:3, :3], axis=0).min()
    return float(apart), max(0.05 * smallest, 5e-4 * diagonal)


def _sizes(spacing: np.ndarray) -> str:
    return " x ".join(f"{step:.4g}" for step in spacing) + " mm"

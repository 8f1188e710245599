"""DICOM files made by hand, one slice each."""

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SOP_CLASSES = {
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "SR": "1.2.840.10008.5.1.4.1.1.88.11",
}


def slice_dataset(
    pixels,
    position,
    series="1.2.826.0.1.3680043.2.1125.8",
    orientation=(1, 0, 0, 0, 1, 0),
    spacing=(1.2, 1.0),
    modality="MR",
    rescale=None,
    bits_stored=None,
    syntax=ExplicitVRLittleEndian,
    **elements,
):
    """Return the dataset of a grey-scale slice; further elements by their keyword."""
    pixels = np.asarray(pixels)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SOP_CLASSES[modality], generate_uid()
    meta.TransferSyntaxUID = syntax
    data = FileDataset("slice.dcm", {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = series, "1.2.826.0.1.3680043.2.1125.9", modality
    data.ImagePositionPatient = [f"{value:.6g}" for value in position]
    data.ImageOrientationPatient = [f"{value:.6f}" for value in orientation]
    data.PixelSpacing = [str(value) for value in spacing]
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = 8 * pixels.itemsize
    data.BitsStored = bits_stored or data.BitsAllocated
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    if rescale is not None:
        data.RescaleSlope, data.RescaleIntercept = (str(value) for value in rescale)
    data.add_new("PixelData", "OB" if pixels.itemsize == 1 else "OW", pixels.tobytes())
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    return data


def modality_lut(first, table, signed=False):
    """Return a modality LUT sequence that maps stored numbers from `first` on to the numbers of a table."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [len(table), first, 16])
    item.add_new("LUTData", "OW", np.asarray(table, "<u2").tobytes())
    item.add_new("ModalityLUTType", "LO", "US")
    return Sequence([item])


def write_slices(folder, planes, step=(0, 0, 2), start=(10, 20, -30), change=None, **options):
    """Write a file for each plane; `change` maps a number to the options of its slice."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, plane in enumerate(planes):
        position = np.array(start) + number * np.array(step)
        own = {"position": position, "pixels": plane, **options, **(change(number) if change else {})}
        path = folder / f"IM{number:04d}.dcm"
        save(slice_dataset(**own), path)
        paths.append(path)
    return paths


def save(data, path):
    syntax = data.file_meta.TransferSyntaxUID
    dcmwrite(
        path, data, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian, force_encoding=True
    )  # fmt: skip

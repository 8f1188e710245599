"""What is fuzzed: a file a family, each with ``seeds`` and ``feed``; see the README beside this folder."""

NAMES = (
    "nrrd",
    "nifti",
    "metaimage",
    "dicom",
    "manifest",
    "weights",
    "zip_package",
    "markups",
    "table",
    "dataset",
    "settings",
    "messages",
)

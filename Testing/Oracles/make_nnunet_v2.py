"""Writes what stock nnunetv2 says of the cases of the tests; see Testing/Oracles/README.md.

PYTHONPATH=NNMamba:Testing/Python python Testing/Oracles/make_nnunet_v2.py OUTPUT.npz
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from nnunet_v2_predict import predict

from helpers import oracle_cases


def main(target: Path) -> None:
    stored = {"fingerprint": oracle_cases.fingerprint()}
    for name in oracle_cases.CASES:
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder) / "results"
            mirror = oracle_cases.write_folder(results, name)
            for precision in ("half", "float32"):
                found = predict(results, oracle_cases.array(), oracle_cases.SPACING, mirror, precision == "float32")
                stored[f"{name}/labels/{precision}"] = found["labels"].astype(np.uint8)
        stored[f"{name}/preprocessed"] = found["preprocessed"]
        stored[f"{name}/probabilities"] = found["probabilities"].astype(np.float16)
    np.savez_compressed(target, **stored)
    print(f"Wrote {target} ({target.stat().st_size:,} bytes).")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What a training's cases were read from, as digests: a file that was replaced since must not pass unnoticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from NNMambaLib.errors import VolumeError
from NNMambaLib.models.manifest import InputSpecification
from NNMambaLib.training.data.case import Case
from NNMambaLib.volumes.files import stored_files

# Of what is prepared: another one when the same sources are prepared in another way.
_FORM = 1


@dataclass(frozen=True)
class ReferenceSource:
    """Where a case's reference comes from.

    Attributes:
        files: that are read whenever the reference is made.
        content: what was read already, ready for JSON.
    """

    files: tuple[Path, ...] = ()
    content: Any = None


@dataclass(frozen=True)
class Sources:
    """What a training learns, and a digest of each case's files.

    Attributes:
        names: of what is learnt, by kind, such as the labels; their order is that of the network's outputs.
        cases: SHA-256 of a case's volume and reference, by the case's name.
    """

    names: Mapping[str, tuple[str, ...]]
    cases: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))

    def prepared(self, case: str, specification: InputSpecification) -> str:
        """Return the digest of a case as it is prepared: of its sources, of the names, and of the network's input."""
        return _digest([_FORM, self.as_json()["names"], self.cases[case], asdict(specification)])

    def changed_since(self, earlier: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """Return the kinds of names, and the cases, that are not as `as_json` returned them earlier."""
        now, then = self.as_json(), earlier
        return _differing(then["names"], now["names"]), _differing(then["cases"], now["cases"])


def case_digest(case: Case, reference: ReferenceSource) -> str:
    """Return the SHA-256 of a case's files, detached voxels included, and of what else its reference says.

    Raises:
        VolumeError: if a file cannot be read.
    """
    files = [[_file_digest(file) for file in stored_files(path)] for path in (*case.channels, *reference.files)]
    return _digest([files, reference.content])


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise VolumeError(f"{path} cannot be read ({error.strerror}): check its name and permissions.") from error


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in {**then, **now} if then.get(name) != now.get(name)]

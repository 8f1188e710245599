"""Reads the files of a folder as checkpoints, in little memory; prints what happened to each, and the seconds taken."""

import json
import resource
import sys
import time
from pathlib import Path

from NNMambaLib.errors import ModelError
from NNMambaLib.models.imports.checkpoint_files import open_checkpoint

# For the interpreter, numpy and the largest pickle that is read, with what it becomes.
_MEMORY = 1200 * 2**20

resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    start = time.process_time()
    try:
        open_checkpoint(path)
        answer = "taken"
    except ModelError as error:
        answer = str(error)
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    found[path.name] = (answer, time.process_time() - start)
print(json.dumps(found))

"""The command ``nnmamba``: the way in, which can be interrupted from its first moment."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from NNMambaLib.commands.streams import patient_streams
from NNMambaLib.runtime.signals import INTERRUPTED, interruptible


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0 only where it succeeded, 130 after Ctrl-C and 143 after SIGTERM."""
    code = 0
    with patient_streams() as streams:
        with interruptible() as interruption:
            try:
                from NNMambaLib.commands.program import run

                code = run(argv)
            except BaseException:
                # Libraries that are interrupted while they load raise errors of their own.
                if interruption.code is None:
                    raise
                code = INTERRUPTED
                print("nnmamba: Interrupted: what was not complete was not written.", file=sys.stderr)
        sys.stdout.flush()
        if streams.error is not None:
            files = "" if code else "; its files were written"
            print(f"nnmamba: What was printed is not complete ({streams.error.strerror}){files}.", file=sys.stderr)
            code = code or 1
    return interruption.code if code == INTERRUPTED and interruption.code is not None else code


if __name__ == "__main__":
    sys.exit(main())

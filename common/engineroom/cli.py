"""The console script. It imports nothing at the top, so that Ctrl-C ends it quietly from the first moment on."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run `engineroom`.

    Exit codes: 0 for success, also after SIGTERM or Ctrl-C while something was served; 1 if the engine failed; 2 if a
    setting or the command line is wrong; 130 for Ctrl-C before anything was served.
    """
    try:
        # What is imported stays: to look for garbage in it would take a twentieth of a start's time.
        gc.disable()
        from .commands.command_line import run

        gc.freeze()
        gc.enable()
        code = run()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)

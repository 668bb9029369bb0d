"""The console script. It imports nothing at the top, so that Ctrl-C is answered quietly from the first moment on."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `engineroom`.

    Exit codes: 0 done, also after SIGTERM or Ctrl-C once something was being served; 1 the engine failed; 2 the
    settings or the command are wrong; 130 Ctrl-C before that.
    """
    try:
        from .commands.command_line import run

        code = run()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)

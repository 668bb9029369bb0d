"""What an image's HEALTHCHECK runs: exit code 0 where the worker is ready.

The queue worker has no socket to ask; it ends when its engine dies, so while it lives it is well.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

from engineroom.environment import Environment

from .http.settings import HTTPSettings
from .start import StartSettings

_TIMEOUT_S = 5


def main() -> int:
    env = Environment.load()
    if StartSettings.load(env).worker != "http":
        return 0
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{HTTPSettings.load(env).port}/ping", timeout=_TIMEOUT_S) as ping:
            return 0 if ping.status == 200 else 1
    except (urllib.error.URLError, OSError):
        return 1


if __name__ == "__main__":
    sys.exit(main())

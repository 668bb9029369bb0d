"""What an image's HEALTHCHECK runs: exit code 0 where the worker is ready.

The queue worker has no socket to ask; it ends when its engine dies, so while it lives it is well.
"""

from __future__ import annotations

import ssl
import sys
import urllib.error
import urllib.request

from engineroom.settings import Environment

from .http.settings import HTTPSettings
from .start import StartSettings

_TIMEOUT_S = 5


def main() -> int:
    env = Environment.load()
    if StartSettings.load(env).worker != "http":
        return 0
    settings = HTTPSettings.load(env)
    # The certificate is for the name that clients use; this asks the machine itself.
    trusting = ssl._create_unverified_context() if settings.uvicorn_ssl_certfile else None
    url = f"{'https' if trusting else 'http'}://127.0.0.1:{settings.port}/ping"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S, context=trusting) as ping:
            return 0 if ping.status == 200 else 1
    except (urllib.error.URLError, OSError):
        return 1


if __name__ == "__main__":
    sys.exit(main())

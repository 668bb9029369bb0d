"""What an image's HEALTHCHECK runs: exit code 0 if the worker is ready, else 1.

The queue worker has no socket to ask. It ends when its engine dies, so it is healthy as long as it runs.
"""

from __future__ import annotations

import ssl
import sys
import urllib.error
import urllib.request

from engineroom.settings import Environment, KnownNames

from .http.settings import HTTPSettings
from .start import StartSettings

_TIMEOUT_S = 5


def main() -> int:
    """Ask the worker whether it is ready; the exit code."""
    env = Environment.load()
    if StartSettings.load(env).worker != "http":
        return 0
    settings = HTTPSettings.load(KnownNames([HTTPSettings]).apply(env))
    scheme = "http"
    context = None
    if settings.uvicorn_ssl_certfile:
        scheme = "https"
        # The certificate is for the name that clients use, and this asks for the machine's own address.
        context = ssl._create_unverified_context()
    url = f"{scheme}://127.0.0.1:{settings.port}/ping"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S, context=context) as response:
            return 0 if response.status == 200 else 1
    except (urllib.error.URLError, OSError):
        return 1


if __name__ == "__main__":
    sys.exit(main())

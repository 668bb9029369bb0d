"""Where a server is: a host and a port, perhaps with TLS, or a Unix socket."""

from __future__ import annotations

import ssl
from typing import NamedTuple
from urllib.parse import urlsplit


class Origin(NamedTuple):
    """A server's address.

    host: its name or number; with a Unix socket only what it is called.
    port: its port; with a Unix socket of no meaning.
    unix: the path of its Unix socket; None for TCP.
    tls: how its certificate is checked; None for plain HTTP.
    """

    host: str
    port: int
    unix: str | None = None
    tls: ssl.SSLContext | None = None

    @classmethod
    def of_url(cls, url: str) -> Origin:
        """The server of an http or https URL. The system's authorities count, or those of SSL_CERT_FILE.

        Raises:
            ValueError: it is no such URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is not the URL of an HTTP server, such as http://127.0.0.1:8000")
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode("ascii")
        return cls(host, port, None, ssl.create_default_context() if secure else None)

    @property
    def authority(self) -> str:
        """Host and port as a Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.unix is not None or self.port == (80 if self.tls is None else 443)
        return host if usual else f"{host}:{self.port}"

"""Why a server elsewhere cannot be used: what its answer to GET /models, or the want of one, means."""

from __future__ import annotations

import re

from engineroom.server import Cause, Diagnostics, Situation, diagnose_exception


class WrongAnswerError(Exception):
    """A server's answer to GET /models that is no list of models. The text: `status 401`, or what it was."""


_LASTING = (
    r"status (?:401|403)\b|no list of models|CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER|"
    r"InvalidResponseError"
)
"""Errors that will be the same the next time; a server that is only starting has others."""

_CAUSES = (
    Cause(
        r"status (?P<status>401|403)\b",
        "GET /models was answered with {status}: the server refuses UPSTREAM_API_KEY, or wants a key and none is set",
    ),
    Cause(
        r"status 404\b",
        "GET /models was answered with 404: UPSTREAM_URLS must end where the API begins, mostly with /v1; "
        "UPSTREAM_CHECK=0 "
        "is for a server without such a list",
    ),
    Cause(
        r"status (?P<status>3\d\d) to (?P<where>\S+)",
        "GET /models was answered with {status} to {where}: UPSTREAM_URLS must name that address itself",
    ),
    Cause(r"status 429\b", "GET /models was answered with 429: the server is busy, or its quota is used up"),
    Cause(
        r"status (?P<status>5\d\d)\b",
        "GET /models was answered with {status}: the server is not ready, or what stands behind it is down",
    ),
    Cause(
        r"no list of models but (?P<kind>.*)",
        "GET /models was not answered with a list of models but with {kind}: that is no OpenAI API; check the path in "
        "UPSTREAM_URLS",
    ),
    Cause(
        r"DNSError|Name or service not known|nodename nor servname|failure in name resolution|Domain name not found",
        "DNS does not know its name: check the host in UPSTREAM_URLS",
    ),
    Cause(
        r"certificate verify failed: (?P<why>[^(\]]*[^(\]\s])",
        "its certificate is not trusted ({why}): SSL_CERT_FILE can name the authority that signed it",
    ),
    Cause(r"WRONG_VERSION_NUMBER|record layer failure", "it speaks http and not https: write http:// in UPSTREAM_URLS"),
    Cause(
        r"unreachable|No route to host", "there is no way to its network from here: check the host, VPN and firewall"
    ),
    Cause(
        r"Connect call failed|Connection refused|Cannot connect to host",
        "nothing listens there: start the server, or correct host and port in UPSTREAM_URLS",
    ),
    Cause(
        r"ConnectionLostError|Connection reset",
        "it closed the connection without an answer: a server that wants https does so; UPSTREAM_URLS says which",
    ),
    Cause(
        r"InvalidResponseError",
        "what answers there speaks no HTTP: check the port in UPSTREAM_URLS",
    ),
    Cause(r"Timeout", "it did not answer within 5 s: it hangs, or a firewall swallows what is sent"),
)

DIAGNOSTICS = Diagnostics(causes=_CAUSES)


def explain(error: Exception) -> str:
    """What an error of a check means, in one sentence."""
    return diagnose_exception(error, DIAGNOSTICS, Situation())


def is_lasting(error: Exception) -> bool:
    """Whether the next check can hardly end otherwise."""
    return re.search(_LASTING, f"{type(error).__name__}: {error}") is not None

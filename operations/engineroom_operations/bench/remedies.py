"""What to do about requests that failed, for a person."""

from __future__ import annotations

from ..load.failure import FailureKind, RequestFailure

_REMEDIES: dict[FailureKind, str] = {
    "unreachable": "is the server running, and are host and port right?",
    "out of sockets": "this program may open no more connections: raise the limit of open files (ulimit -n), or lower "
    "the load",
    "TLS": "is it http:// instead of https://? Its authority's certificate can be given with --ca, or not checked with "
    "--insecure",
    "timeout": "ask for less (--output-tokens), wait longer (--timeout), or lower the load",
    "cut off": "the server or a proxy before it closed connections; its log says why",
    "unauthorised": "give the key with --api-key or OPENAI_API_KEY",
    "not found": "check the URL, which is what comes before /chat/completions, and the model's name (--model)",
    "bad request": "the server does not take such a request; its reason says what to change",
    "too large": "ask with less text (--input-tokens)",
    "rate limited": "the server limits this key or address: raise its limits for the test, or lower the load",
    "overloaded": "the server sheds load: that is its capacity, or a limit of its queue that can be raised",
    "server error": "the server's log says why",
    "error in the stream": "the server's log says why",
    "not the API": "check the URL: it is the base of OpenAI's API, and ends in /v1 as a rule",
    "no tokens": "does the model end its answers at once? Try another scenario, or --ignore-eos",
}


def of(failure: RequestFailure) -> str:
    """The remedy for a failure."""
    if failure.status == 403:
        return "the key is known, but not allowed to do this"
    return _REMEDIES[failure.kind]

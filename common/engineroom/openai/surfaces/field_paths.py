"""A chat's errors in the words of the surface that the client speaks: its own fields, not those of the chat."""

from __future__ import annotations

import re

from ...errors import APIError

_QUOTED = re.compile(r"(?P<quote>['`])(?P<path>[A-Za-z_][\w.]*)(?P=quote)")


class FieldPaths:
    """Which field of the client's request each field of a chat request was made of.

    Args:
        names: dotted paths in the chat request -> those in the client's; longer ones go before their beginnings.
    """

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def add(self, chat: str, client: str) -> None:
        """One more."""
        self._names[chat] = client

    def client_path(self, path: str) -> str:
        """The client's path for a path in the chat request; the path itself for what both call alike."""
        known = path
        rest = ""
        while known:
            if known in self._names:
                return self._names[known] + rest
            known, dot, last = known.rpartition(".")
            rest = f"{dot}{last}{rest}"
        return path

    def translate(self, error: APIError) -> APIError:
        """The error with the client's fields in place of the chat's."""
        return APIError(
            _QUOTED.sub(lambda match: match[1] + self.client_path(match[2]) + match[1], error.message),
            status=error.status,
            type=error.type,
            param=error.param and self.client_path(error.param),
            code=error.code,
            retry_after=error.retry_after,
        )

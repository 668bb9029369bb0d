"""A value as it was meant: without what shells, editors and `docker --env-file` leave around it."""

from __future__ import annotations

import re

_QUOTES = (
    ('"', '"'),
    ("'", "'"),
    *(("\u201c", "\u201d"), ("\u2018", "\u2019"), ("\u201d", "\u201d"), ("\u2019", "\u2019")),  # English, and Swedish
    *(("\u201e", "\u201c"), ("\u201a", "\u2018"), ("\u00ab", "\u00bb")),  # German, French
)
_BLANKS = "\ufeff\u200b\u200c\u200d\u2060"
"""Blanks without a width, which copied text may hold and `str.strip` leaves."""

_COMMENT = re.compile(r"\s+#.*", re.DOTALL)
_USER_INFO = re.compile(r"(\w://)[^/?#\s]*@")
"""The user in a URL, often with a password."""
_SECRET_PARAMETER = re.compile(
    r"([?&][^=&\s]*(?:token|key|secret|password|passwd|signature|credential)[^=&\s]*=)[^&#\s]+", re.IGNORECASE
)
"""A password or the like behind a URL's question mark, as in a signed one."""


def without_user_info(text: str) -> str:
    """`text` as it may be shown: the user and the password of each URL in it are hidden, and so are its secrets."""
    return _SECRET_PARAMETER.sub(r"\1•••", _USER_INFO.sub(r"\1•••@", text))


def unquoted(text: str) -> str:
    """`text` without blanks around it, and without quotes around the whole of it.

    `docker --env-file`, systemd and Kubernetes pass quotes on that a shell would take away. Only a pair around a text
    that holds no other quote of its kind is taken for such: `"a" "b"` stays as it is, and so does JSON.
    """
    text = _stripped(text)
    for opening, closing in _QUOTES:
        inside = text[1:-1]
        if len(text) > 1 and text[0] == opening and text[-1] == closing and not {opening, closing} & {*inside}:
            return _stripped(inside)
    return text


def plain(text: str) -> str:
    """A number or a word: also without a comment behind it, as `docker --env-file` passes `8000  # the port` on."""
    return unquoted(_COMMENT.sub("", unquoted(text)))


def _stripped(text: str) -> str:
    previous = None
    while text != previous:
        previous = text
        text = text.strip().strip(_BLANKS)
    return text

"""What can be no model's name: addresses of other things, and text that belongs to something else."""

from __future__ import annotations

import re

_NAME = re.compile(r"^[\w.-]+(/[\w.-]+)?(:.+)?$")
"""`org/name`, or a name alone as the hub's oldest repositories have, with a file or a quantisation behind it."""

_COMMENT = re.compile(r"\s+#")
_IN_ADDRESS = re.compile(r"/models/([\w.-]+/[\w.-]+)")


def misnamed(model: str) -> str | None:
    """Why what is no path on this machine can be no repository of a hub either, and what to write; None where it can.

    Args:
        model: as `reference.parse` leaves it, so that an address of the hub's own is a name already.
    """
    comment = _COMMENT.search(model)
    if comment is not None:
        return f"has a comment in it, {model[comment.start() :].strip()!r}; write {model[: comment.start()]} alone"
    kind, _, rest = model.partition("/")
    if kind in ("datasets", "spaces"):
        return f"{rest} is a {'data set' if kind == 'datasets' else 'space'} of the hub, no model"
    if model.lower().startswith(("http://", "https://")):
        named = _IN_ADDRESS.search(model)
        return f"is the address of a page; write {named[1] if named else 'the repository as org/name'}"
    if "://" not in model and not _NAME.match(model):
        return f"{model!r} is neither a file or folder here nor a repository (`org/name`)"
    return None

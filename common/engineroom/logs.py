"""The log: one line an event on stderr, as text for people or as JSON for programs."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from datetime import datetime, timezone
from typing import Any, TextIO

from .errors import Problems
from .settings.environment import Environment
from .settings.worker import WorkerSettings

_PLAIN = re.compile(r"[!#-<>-~]+")
"""Text of visible ASCII characters, without quotes and equals signs."""
_encode_json = json.JSONEncoder(ensure_ascii=False).encode


class Event:
    """A message for the log that has fields: `what name=value ...` as text, members of the object as JSON.

    In text, values with white space and the like are quoted, so that what a client sent cannot begin a line.
    """

    def __init__(self, what: str, **fields: Any) -> None:
        self.what = what
        self.fields = fields

    def __str__(self) -> str:
        fields = [f"{name}={_quoted(str(value))}" for name, value in self.fields.items()]
        return " ".join([self.what, *fields])


def _quoted(text: str) -> str:
    """The text, quoted unless it is plain."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, the fields of an `Event`, and `exception`
    if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.msg.what if isinstance(record.msg, Event) else record.getMessage(),
        }
        if isinstance(record.msg, Event):
            fields |= record.msg.fields
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return _encode_json(fields)


class TextFormatter(logging.Formatter):
    """`12:34:56 INFO    message`, with the logger's name before the message if the logger is not ours.

    Args:
        names: whether our own loggers' names are shown, too.
        colour: whether warnings and errors are coloured.
    """

    def __init__(self, *, names: bool, colour: bool) -> None:
        super().__init__("%(asctime)s %(level)s %(from)s%(message)s", "%H:%M:%S")
        self._names = names
        self._colour = colour

    def formatMessage(self, record: logging.LogRecord) -> str:
        hide_name = record.name.startswith("engineroom") and not self._names
        colour = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}.get(record.levelno)
        level = f"{record.levelname:<7}"
        record.__dict__["level"] = f"\x1b[{colour}m{level}\x1b[0m" if colour and self._colour else level
        record.__dict__["from"] = "" if hide_name else record.name.removeprefix("engine.") + ": "
        return super().formatMessage(record)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at that moment: a spinner replaces it, to move down as lines are written."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def configure(settings: WorkerSettings) -> None:
    """Set up the root logger. A program that embeds an engine does not call this."""
    handler = _Stderr()
    if settings.log_format == "json":
        handler.setFormatter(JSONFormatter())
    else:
        colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        handler.setFormatter(TextFormatter(names=settings.log_level == "DEBUG", colour=colour))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)


def configure_before(env: Environment) -> None:
    """Set up the root logger before all settings are read: what is wrong with them is a line of this log then.

    A wrong value of its own counts as not set here; whoever reads the settings after this reports it.
    """
    configure(WorkerSettings.load_valid(env, Problems()))

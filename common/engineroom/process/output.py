"""A child process's output, line by line: how serious each line is, and what repeats itself."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

_LEVELS = {
    "D": logging.DEBUG,
    "I": logging.INFO,
    "W": logging.WARNING,
    "E": logging.ERROR,
    "F": logging.CRITICAL,
    "C": logging.CRITICAL,
}
"""The first letter of a level's name, which is all of it in some logs -> the level."""

_GLOG = r"\[?(?P<level>[DIWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +(?:\d+ +)?(?P<source>[^\]]+)\] ?"
_TIME = r"(?:\[?\d{4}-\d\d-\d\d[ T][\d:.,]+\]? *[-:]? *)?"
_NAMED = r"(?:(?P<source>[\w.]+) *[-:] *)??"
_LEVEL = r"\[? *(?P<level>DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)(?:\]|:|\s*[-|]|\s{2,}) *[-:]? *"
USUAL = (_GLOG, _TIME + _NAMED + _LEVEL)
"""How lines begin that many libraries write: glog's, and the usual ones of Python's logging and of uvicorn."""

TRACEBACK = re.compile(r"(?:\+ )?(?:Exception Group )?Traceback \(most recent call last\):")
EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Failure|Warning)?(?::|$)")
_CRY = re.compile(
    r"(?:[\w.-]+(?: [\w-]+)?: )*(?:fatal|error|[\w.]*[a-z](?:Error|Exception)) ?:|.{0,200}GGML_ASSERT\(|terminate "
    r"called",
    re.IGNORECASE,
)
"""How a line begins that is an error although nothing before it says so."""

_PYTHON_WARNING = re.compile(r"\S+\.py:\d+: \w*Warning: ")

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class LogLine(NamedTuple):
    """One line.

    level: of `logging`; that of the line it goes on from where it has none of its own.
    text: what it says, without its time, level and place.
    source: the process or place in the sources that its beginning names; empty where it names none.
    plain: it begins like none of the log's lines.
    """

    level: int
    text: str
    source: str = ""
    plain: bool = True


@dataclass(frozen=True)
class LogFormat:
    """How an engine begins its lines.

    beginnings: patterns with a group `level`, a word or its first letter, and perhaps `source`. Several may be matched
        one after the other, as where a program's own log is part of another's. `USUAL` is tried after them.
    contents: patterns of what stands in a line before something that a client sent, a piece of a prompt or a grammar.
    """

    beginnings: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()
    _compiled: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", tuple(map(re.compile, (*self.beginnings, *USUAL))))

    def split(self, line: str) -> LogLine:
        """A line by itself; INFO where it does not say how serious it is."""
        rest = _ESCAPES.sub("", line)
        level: int | None = None
        sources = []
        while True:
            matches = (pattern.match(rest) for pattern in self._compiled)
            match = next((match for match in matches if match and match.end()), None)
            if match is None:
                break
            groups = match.groupdict()
            if groups.get("level"):
                level = _LEVELS[groups["level"][0].upper()]
            if groups.get("source"):
                sources.append(groups["source"])
            rest = rest[match.end() :]
            if level is not None:
                break
        return LogLine(logging.INFO if level is None else level, rest, " ".join(sources), plain=level is None)


class LogReader:
    """Reads lines in their order, so that those without a level of their own get that of what they belong to.

    A traceback is an error from its first line to the end of its message, whoever wrote it.
    """

    def __init__(self, log_format: LogFormat) -> None:
        self._format = log_format
        self._previous = LogLine(logging.INFO, "")
        self._traceback = False
        self._message = False
        self._contents = [re.compile(pattern) for pattern in log_format.contents]
        self._in_content = False

    def without_content(self, line: str) -> str:
        """The next line without what a client sent; empty where it is nothing else.

        What follows such a line, and begins like none of the log's, is more of the same.
        """
        if not self._contents:
            return line
        for pattern in self._contents:
            match = pattern.search(line)
            if match is not None:
                self._in_content = True
                return f"{line[: match.end()]}… (LOG_LEVEL=DEBUG shows what a client sent)"
        self._in_content = self._in_content and self._format.split(line).plain
        return "" if self._in_content else line

    def read(self, line: str) -> LogLine:
        split = self._format.split(line)
        if not split.plain:
            self._traceback = self._message = False
        elif TRACEBACK.match(split.text):
            self._traceback = True
            self._message = False
            split = split._replace(level=logging.ERROR)
        elif _PYTHON_WARNING.match(split.text):
            self._traceback = self._message = False
            split = split._replace(level=logging.WARNING)
        elif self._traceback:
            if EXCEPTION.match(split.text):
                self._traceback = False
                self._message = True
            split = split._replace(level=logging.ERROR)
        elif self._message:
            # What follows an exception without a level of its own is more of its message, as far as can be seen.
            split = split._replace(level=logging.ERROR)
        elif _CRY.match(split.text):
            split = split._replace(level=logging.ERROR)
        elif split.text[:1].isspace() and self._previous.level > logging.INFO:
            split = split._replace(level=self._previous.level)
        self._previous = split
        return split


_PROGRESS = re.compile(r"\d+%\||\d+%.{0,40}\| *\d+/\d+|\d+/\d+ \[\d+:\d\d")
_NUMBERS = re.compile(r"[\d.,:\s█▏▎▍▌▋▊▉#=>-]+")
_FOLDED_S = 10
"""Seconds between two lines of one progress bar, or two reports on a line that is still being repeated."""


class Folding:
    """Passes lines on, those that repeat the one before counted instead, and of a progress bar one every ten seconds.

    Args:
        write: gets the level and the text of each line that is passed on.
    """

    def __init__(self, write: Callable[[int, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._last: LogLine | None = None
        self._key: object = None
        self._progress = False
        self._held = 0
        self._newest = ""
        self._written_at = 0.0

    def add(self, line: LogLine, raw: str) -> None:
        """One more line.

        Args:
            raw: as it was written; this is passed on.
        """
        progress = bool(_PROGRESS.search(line.text))
        wording = _NUMBERS.sub("", line.text) if progress else line.text
        key = (line.level, progress, wording)
        if key != self._key or self._last is None:
            self.flush()
            self._key = key
            self._progress = progress
            self._last = line
            self._pass_on(line.level, raw)
            return
        self._held += 1
        self._newest = raw
        if self._clock() - self._written_at >= _FOLDED_S:
            self._report()

    def flush(self) -> None:
        """Pass on what is held back. Call it at the end, too."""
        if self._held:
            self._report()
        self._key = None

    def _report(self) -> None:
        assert self._last is not None
        one = self._progress or self._held == 1
        text = self._newest if one else f"(the line above was repeated {self._held} times)"
        self._held = 0
        self._pass_on(self._last.level, text)

    def _pass_on(self, level: int, text: str) -> None:
        self._written_at = self._clock()
        self._write(level, text)

"""The lines of a child: their levels, and those that repeat themselves."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

import pytest

from engineroom.logs import JSONFormatter
from engineroom.process import LogFormat, Process
from engineroom.process.output import Folding, LogReader

LETTERS = LogFormat((r"\d+\.\d\d\.\d{3}\.\d{3} (?P<level>[DIWE]) ",))
NAMED = LogFormat(
    (
        r"\((?P<source>\w+ pid=\d+)\) ?",
        r"(?P<level>DEBUG|INFO|WARNING|ERROR) \d\d-\d\d \d\d:\d\d:\d\d \[(?P<source>[^\]]+)\] ?",
    )
)


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ("0.00.021.859 W cache: small", "WARNING", "cache: small"),
        ("0.00.021.859 E srv init: exiting", "ERROR", "srv init: exiting"),
        ("0.00.021.859 I all is well", "INFO", "all is well"),
        ("W1126 08:36:27.065000 25586 /x/triton.py:53] no kernels", "WARNING", "no kernels"),
        ("[W1126 08:39:19.187998990 utils.cpp:68] Warning: NUMA", "WARNING", "Warning: NUMA"),
        ("E0406 06:06:25.697896 97 manager.cc:1890] Poll failed", "ERROR", "Poll failed"),
        ("INFO:     Started server process [1]", "INFO", "Started server process [1]"),
        ("ERROR:    [Errno 98] address already in use", "ERROR", "[Errno 98] address already in use"),
        ("2026-11-26 08:36:27,065 - root - WARNING - too slow", "WARNING", "too slow"),
        ("[2025-12-04 18:18:17,261] [ WARNING] strategy.py:335 - odd", "WARNING", "strategy.py:335 - odd"),
        ("\x1b[31mERROR\x1b[0m:    red", "ERROR", "red"),
        ("/x/cpp_extension.py:718: UserWarning: No ccache found.", "WARNING", None),
        ("serve: error: unrecognized arguments: --x", "ERROR", None),
        ("main.py serve: error: argument --x: no", "ERROR", None),
        ("ValueError: no", "ERROR", None),
        ("the error rate is 0", "INFO", None),
        ("args: {'trust_remote_code': True}", "INFO", None),
        ("INFOrmation follows", "INFO", None),
    ],
)
def test_a_line_has_its_level(line: str, level: str, text: str | None) -> None:
    read = LogReader(LETTERS).read(line)
    assert logging.getLevelName(read.level) == level
    assert read.text == (line if text is None else text)


def test_a_traceback_is_an_error_until_the_log_goes_on() -> None:
    lines = [
        "(Core pid=7) INFO 11-26 08:36:27 [x.py:1] loading",
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in main',
        "    raise Odd()",
        "a.b.Odd: it is odd",
        "  and why",
        "another line of it",
        "(Core pid=7) INFO 11-26 08:36:28 [x.py:1] bye",
        "plain",
    ]
    reader = LogReader(NAMED)
    levels = [logging.getLevelName(reader.read(line).level) for line in lines]
    assert levels == ["INFO", *["ERROR"] * 6, "INFO", "INFO"]


def folded(lines: list[str], seconds: float = 0.0) -> list[str]:
    """What is passed on of lines that come `seconds` apart."""
    passed: list[str] = []
    now = 0.0
    folding = Folding(lambda level, text: passed.append(text), lambda: now)
    reader = LogReader(NAMED)
    for line in lines:
        folding.add(reader.read(line), line)
        now += seconds
    folding.flush()
    return passed


def test_repeated_lines_are_counted() -> None:
    again = [f"(Core pid=7) INFO 11-26 08:36:{second:02} [x.py:1] waiting" for second in range(42)]
    assert folded([*again, "done"]) == [again[0], "(the line above was repeated 41 times)", "done"]
    assert folded(["a", "a", "b"]) == ["a", "a", "b"], "once more is shorter as it is"
    assert folded(["a", "b", "a", "b"]) == ["a", "b", "a", "b"]
    assert len(folded(again, seconds=1)) == 6, "and told every ten seconds meanwhile"


def test_of_a_progress_bar_the_beginning_and_the_end_are_shown() -> None:
    bar = [
        f"Loading shards: {done:3}% Completed | {done}/100 [00:{done // 2:02}<00:01, 2.0it/s]" for done in range(101)
    ]
    assert folded([*bar, "loaded"]) == [bar[0], bar[-1], "loaded"]
    assert folded([*bar, "loaded"], seconds=1)[:3] == [bar[0], bar[10], bar[20]]


NOISY = r"""
import sys
print("0.00.000.001 W careful")
for done in range(101):
    sys.stdout.write(f"\rdownload {done}%|")
print()
print("Traceback (most recent call last):\n  File 'x'\nOddError: odd")
for _ in range(300):
    print("0.00.000.002 I", _)
"""


async def test_a_child_s_lines_are_logged_with_their_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "engine.noisy")
    process = await Process.spawn([sys.executable, "-c", NOISY], name="noisy", log_format=LETTERS)
    assert await asyncio.wait_for(process.wait(), 60) == 0
    await process.stop()
    logged = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "engine.noisy"]
    assert ("WARNING", "0.00.000.001 W careful") in logged
    assert ("ERROR", "OddError: odd") in logged
    assert [text for _, text in logged if "download" in text] == ["download 100%|"]
    assert "OddError: odd" in process.tail, "what is serious is kept although 300 ordinary lines came after it"
    assert process.last_lines(0) == []
    as_json = json.loads(JSONFormatter().format(caplog.records[0]))
    assert (as_json["level"], as_json["logger"]) == ("WARNING", "engine.noisy")

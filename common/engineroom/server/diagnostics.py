"""Why an engine failed, in one sentence: its error lines read whole, and a table of causes that each engine has.

A cause is looked for in errors only: in lines that the engine itself calls errors, in exceptions with their whole
message, and in what a program without a log writes as it ends. What it says of its ordinary doings, and echoes of its
arguments inside of errors, say nothing about a cause.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from ..models.hub import explain as explain_hub
from ..process.output import EXCEPTION, TRACEBACK, LogFormat, LogLine, LogReader

Sentence: TypeAlias = str | Callable[[re.Match[str], Mapping[str, str]], str]
"""What is told: a text in which `{group}` stands for a part of the match and `{VARIABLE}` for a setting's value, or a
function of both."""

Safer: TypeAlias = Mapping[str, str] | Callable[[re.Match[str], Mapping[str, str]], Mapping[str, str]]
"""Settings and values with which the same start needs less memory, or a function that works them out as `Sentence`."""

_LONGEST = 400
_CHAIN = re.compile(r"(?:The above exception was the direct|During handling of the above exception)")
_FRAME = re.compile(r"\s|\^|\.\.\.|\[Previous line repeated")
_ECHO = re.compile(
    r"\s*\[type=\w+, input_value=.*?, input_type=[\w.]+\]|\s*For further information visit \S+", re.DOTALL
)
"""What pydantic adds to a message: the input, which repeats every argument, and a page."""

_PYDANTIC = re.compile(r"(?:[\w.]+: )?\d+ validation errors? for (?P<model>[^\n]+)\n(?P<problems>.*)", re.DOTALL)
_ARGPARSE = re.compile(r"error: argument (?P<flags>-[^:]+): (?P<message>.*)", re.DOTALL)
_NO_SUCH_FLAG = re.compile(r"error: unrecognized arguments: (?P<flags>.*)")
_CLASS = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Z]\w*): ")
_EMPTY_CLASSES = ("Exception", "NotImplementedError", "RuntimeError", "ValueError")
"""Names of exceptions that say no more than that there is one."""


class Cause(NamedTuple):
    """A known cause.

    pattern: a regular expression that is searched in each error, and then in all of them together, a line each.
    sentence: what to tell: variable, value, limit, remedy.
    safer: for a lack of memory, with what a second start may do without so much.
    """

    pattern: str
    sentence: Sentence
    safer: Safer = {}


@dataclass(frozen=True)
class Diagnostics:
    """How to read one engine's errors.

    log_format: how it begins its lines.
    causes: known causes, the most telling first.
    second_hand: a pattern of errors that only tell that something else failed.
    """

    log_format: LogFormat = field(default_factory=LogFormat)
    causes: tuple[Cause, ...] = ()
    second_hand: str = r"(?!)"


class Situation(NamedTuple):
    """What else is known about a start.

    variables: settings and their values, for sentences.
    repository: the model, where it has to come from a hub; else None.
    token: whether the hub's client had a token.
    """

    variables: Mapping[str, str] = {}
    repository: str | None = None
    token: bool = False


class ErrorText(NamedTuple):
    """One error, all its lines.

    last: nothing was raised because of it.
    """

    text: str
    last: bool = True


COMMON = (
    Cause(
        r"No space left on device(?:: '(?P<path>[^']+)')?",
        lambda match, _: f"the disk is full: nothing more can be written{_at(match['path'])}",
    ),
    Cause(
        r"(?:Address already in use|address already in use|EADDRINUSE)",
        "another program uses a port that the engine needs: end that program, or start again",
    ),
    Cause(
        r"Too many open files",
        "this process may open too few files: raise the limit (`ulimit -n`)",
    ),
    Cause(
        r"[Pp]ermission denied:? '?(?P<path>/[^\s']+)'?",
        "{path} may not be read or written by this user: change its permissions or its owner",
    ),
    Cause(
        r"error while loading shared libraries: (?P<library>[^\s:]+)",
        "the system library {library} is missing, which the engine needs: install it, or use an image that has it",
    ),
    Cause(
        r"CUDA driver version is insufficient|no kernel image is available|forward compatibility was attempted|"
        r"driver on your system is too old",
        "this build's CUDA does not fit the machine's GPU or driver: use another image, or a host with a newer driver",
    ),
    Cause(
        r"No module named '?(?P<module>[\w.]+)'?",
        "its Python lacks the module {module}: install it there",
    ),
)
"""Causes that any program may have; an engine's own are tried first."""


def errors_of(lines: Iterable[str], log_format: LogFormat) -> list[ErrorText]:
    """The errors in a log, each whole, in their order."""
    reader = LogReader(log_format)
    errors: list[ErrorText] = []
    block: list[str] = []
    source = ""
    read = [reader.read(line) for line in lines]
    for line in read:
        is_error = line.level >= logging.ERROR
        if block and (not is_error or _begins_another(line, source)):
            errors += _of_block(block)
            block = []
        if is_error:
            block.append(line.text)
            source = line.source
    errors += _of_block(block)
    return errors


def last_words(lines: Sequence[str], log_format: LogFormat) -> list[str]:
    """What a program wrote last outside of its log: the last plain lines that stand together."""
    reader = LogReader(log_format)
    words: list[str] = []
    goes_on = False
    for line in [reader.read(line) for line in lines]:
        if line.plain and line.text.strip():
            words = [*words, line.text.strip()] if goes_on else [line.text.strip()]
        goes_on = line.plain
    return words


def diagnose(lines: Sequence[str], diagnostics: Diagnostics, situation: Situation) -> str | None:
    """The sentence that says why, from a log; None where no line of it does."""
    errors = errors_of(lines, diagnostics.log_format)
    words = last_words(lines, diagnostics.log_format)
    known = known_cause([*errors, *map(ErrorText, words)], diagnostics, situation)
    if known:
        return known
    first_hand = [error for error in errors if error.last and not re.search(diagnostics.second_hand, error.text)]
    if first_hand:
        return readable(first_hand[0].text)
    telling = [word for word in words if not re.search(diagnostics.second_hand, word)]
    return readable(telling[-1]) if telling and not errors else None


def diagnose_exception(error: BaseException, diagnostics: Diagnostics, situation: Situation) -> str:
    """The sentence for an exception of this process, with those that it was raised from."""
    chain = [ErrorText(_text_of(error))]
    inner = error.__cause__ or error.__context__
    while inner is not None and len(chain) < 10:
        chain.insert(0, ErrorText(_text_of(inner), last=False))
        inner = inner.__cause__ or inner.__context__
    return known_cause(chain, diagnostics, situation) or readable(chain[-1].text)


def safer_settings(lines: Sequence[str], diagnostics: Diagnostics, situation: Situation) -> Mapping[str, str]:
    """The settings with which a start that ran out of memory may succeed, from its log; empty where none are known."""
    errors = [
        *errors_of(lines, diagnostics.log_format),
        *map(ErrorText, last_words(lines, diagnostics.log_format)),
    ]
    first = _first(diagnostics.causes, _texts(errors))
    if first is None:
        return {}
    cause, match = first
    return cause.safer(match, _Values(situation.variables)) if callable(cause.safer) else cause.safer


def known_cause(errors: Sequence[ErrorText], diagnostics: Diagnostics, situation: Situation) -> str | None:
    """The sentence of the first cause in the tables that any of these errors has; None where none is known."""
    texts = _texts(errors)
    first = _first(diagnostics.causes, texts)
    if first is not None:
        return _tell(first[0].sentence, first[1], situation.variables)
    if situation.repository is not None:
        # All of them together say most: a 401 alone may mean a repository that is gated, or one that is not there.
        token = "set" if situation.token else None
        of_hub = explain_hub(situation.repository, texts[-1], token)
        if of_hub is not None:
            return of_hub
    first = _first(COMMON, texts)
    return None if first is None else _tell(first[0].sentence, first[1], situation.variables)


def _texts(errors: Sequence[ErrorText]) -> list[str]:
    """Where causes are looked for: in each error, and in all of them together."""
    texts = [_ECHO.sub("", error.text) for error in errors]
    return [*texts, "\n".join(texts)]


def readable(error: str) -> str:
    """An unknown error for people: in one line, without the input that it repeats; settings for what it names."""
    pydantic = _PYDANTIC.match(error)
    if pydantic is not None:
        return _short("; ".join(_pydantic_problems(pydantic["problems"])) or error)
    argparse = _ARGPARSE.search(error)
    if argparse is not None:
        variable = variable_of(argparse["flags"])
        return _short(f"{variable}: {argparse['message']}")
    unknown = _NO_SUCH_FLAG.search(error)
    if unknown is not None:
        return _short(f"this version has no such option: {unknown['flags']}")
    text = re.sub(r"^(?:[\w.-]+: )?(?:error|fatal): ", "", _ECHO.sub("", error), flags=re.IGNORECASE)
    name = _CLASS.match(text)
    if name is not None and name[1] in _EMPTY_CLASSES and len(text) > name.end():
        text = text[name.end() :]
    return _short(text)


def variable_of(flags: str) -> str:
    """The setting of a command line's flag: `--max-model-len` or `-tp/--tensor-parallel-size` -> its variable."""
    longest = max(re.split(r"[/,\s]+", flags.strip()), key=len)
    return longest.lstrip("-").replace("-", "_").upper()


def _first(causes: Iterable[Cause], texts: Sequence[str]) -> tuple[Cause, re.Match[str]] | None:
    """The first cause that any of the texts has, and where."""
    for cause in causes:
        for text in texts:
            match = re.search(cause.pattern, text)
            if match is not None:
                return cause, match
    return None


def _pydantic_problems(text: str) -> list[str]:
    """`field\\n  Input should be …` -> `FIELD=value: should be …`; a message about no field as it is."""
    problems = []
    field = ""
    for line in re.split(r"\n(?=\S)|\n(?=  \S)", text):
        if not line.startswith(" "):
            field = line.strip()
            continue
        given = re.search(r"\[type=\w+, input_value=(?P<value>.*), input_type=(?P<type>[\w.]+)\]", line, re.DOTALL)
        message = _ECHO.sub("", line).strip()
        if not message:
            continue
        message = re.sub(r"^(?:Value|Assertion) error, ", "", message)
        value = given["value"] if given and given["type"] in ("int", "float", "str", "bool", "NoneType") else None
        if not field:
            problems.append(message)
            continue
        variable = field.split(".")[0].upper()
        message = re.sub(r"^Input should be", "must be", message)
        problems.append(f"{variable}={value.strip(chr(39))}: {message}" if value else f"{variable}: {message}")
        field = ""
    return list(dict.fromkeys(problems))


def _begins_another(line: LogLine, source: str) -> bool:
    return not line.plain and line.source != source


def _of_block(block: Sequence[str]) -> list[ErrorText]:
    """The errors of lines that stand together: the exceptions with their whole messages, or else the lines."""
    errors: list[ErrorText] = []
    plain: list[str] = []
    state = "outside"
    for line in block:
        if TRACEBACK.match(line.strip()):
            errors += _joined(plain)
            plain = []
            state = "frames"
        elif _CHAIN.match(line.strip()):
            state = "outside"
            if errors:
                errors[-1] = errors[-1]._replace(last=False)
        elif state == "frames":
            if EXCEPTION.match(line) and not _FRAME.match(line):
                errors.append(ErrorText(line))
                state = "message"
        elif state == "message":
            errors[-1] = errors[-1]._replace(text=f"{errors[-1].text}\n{line}")
        elif line.strip():
            plain.append(line)
    return errors + _joined(plain)


def _joined(lines: Sequence[str]) -> list[ErrorText]:
    """Lines outside of tracebacks: each is an error; an indented one goes on with that before it."""
    errors: list[str] = []
    for line in lines:
        if errors and line[:1].isspace():
            errors[-1] += "\n" + line
        else:
            errors.append(line)
    return [ErrorText(error.strip()) for error in errors if error.strip()]


def _text_of(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}: {error}".removeprefix("builtins.")


class _Values(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "not set"


def _tell(sentence: Sentence, match: re.Match[str], variables: Mapping[str, str]) -> str:
    if callable(sentence):
        return sentence(match, _Values(variables))
    groups = {name: " ".join(value.split()) for name, value in match.groupdict().items() if value is not None}
    return sentence.format_map(_Values({**variables, **groups}))


def _at(path: str | None) -> str:
    return f" at {path}" if path else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"

"""Errors read whole and told in one sentence, whichever engine wrote them."""

from __future__ import annotations

import pytest

from engineroom.process import LogFormat
from engineroom.server import Cause, Diagnostics, Situation, diagnose, diagnose_exception

NAMED = LogFormat((r"(?P<level>INFO|ERROR) \d\d:\d\d \[(?P<source>[^\]]+)\] ?",))
PLAIN = Diagnostics(NAMED)

PYDANTIC = """Traceback (most recent call last):
  File "x.py", line 1
pydantic_core._pydantic_core.ValidationError: 2 validation errors for ParallelConfig
tensor_parallel_size
  Input should be greater than or equal to 1 [type=greater_than_equal, input_value=0, input_type=int]
    For further information visit https://errors.pydantic.dev/2.14/v/greater_than_equal
backend
  Input should be 'mp' or 'ray' [type=literal_error, input_value='zork', input_type=str]
    For further information visit https://errors.pydantic.dev/2.14/v/literal_error"""
CHAINED = """Traceback (most recent call last):
  File "x.py", line 1
KeyError: 'deep down'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "y.py", line 2
ValueError: the head is missing
it has to be there"""


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (
            PYDANTIC,
            "TENSOR_PARALLEL_SIZE=0: must be greater than or equal to 1; BACKEND=zork: must be 'mp' or 'ray'",
        ),
        (CHAINED, "the head is missing it has to be there"),
        (
            "usage: serve [-h] [--trust-remote-code]\nserve: error: argument --dtype/-d: invalid choice: 'f33'",
            "DTYPE: invalid choice: 'f33'",
        ),
        ("x: error: unrecognized arguments: --zork", "this version has no such option: --zork"),
        ("ERROR 10:10 [a.py:1] the moon\nERROR 10:10 [b.py:2] and the sun", "the moon"),
        (
            "OSError: [Errno 28] No space left on device: '/data/x'",
            "the disk is full: nothing more can be written at /data/x",
        ),
        (
            "PermissionError: [Errno 13] Permission denied: '/data/x'",
            "/data/x may not be read or written by this user: change its permissions or its owner",
        ),
        ("ModuleNotFoundError: No module named 'zork'", "its Python lacks the module zork: install it there"),
        (
            "/x/serve: error while loading shared libraries: libcuda.so.1: cannot open shared object file",
            "the system library libcuda.so.1 is missing, which the engine needs: install it, or use an image that has "
            "it",
        ),
        ("something odd\nlast words", "last words"),
        ("INFO 10:10 [a.py:1] No space left on device", None),
        ("", None),
    ],
)
def test_an_error_is_told_in_one_sentence(log: str, sentence: str | None) -> None:
    lines = log.split("\n") if log else []
    assert diagnose(lines, PLAIN, Situation()) == sentence
    ordinary = "INFO 10:11 [a.py:1] No module named 'x', CUDA driver version is insufficient"
    if sentence not in (None, "last words"):
        assert diagnose([ordinary, *lines, *[ordinary] * 300], PLAIN, Situation()) == sentence


def test_an_echo_of_the_arguments_is_no_cause() -> None:
    causes = (Cause("trust_remote_code", "set TRUST_REMOTE_CODE"), Cause("no weights", "{MODEL_NAME} has none"))
    echoed = "  Value error, no weights [type=value_error, input_value=Args({'trust_remote_code': 1}), input_type=Args]"
    lines = [
        "Traceback (most recent call last):",
        '  File "x.py"',
        "a.ValidationError: 1 validation error for M",
        echoed,
    ]
    assert diagnose(lines, Diagnostics(NAMED, causes), Situation({"MODEL_NAME": "a/b"})) == "a/b has none"


def test_what_only_tells_of_another_s_end_is_passed_over() -> None:
    lines = [
        "ERROR 10:10 [a.py:1] worker failed",
        "ERROR 10:10 [b.py:1] the moon",
        "ERROR 10:10 [c.py:1] worker failed",
    ]
    assert diagnose(lines, Diagnostics(NAMED, second_hand="worker failed"), Situation()) == "the moon"


def test_the_hub_s_errors_are_known_where_the_model_comes_from_there() -> None:
    lines = ["huggingface_hub.errors.LocalEntryNotFoundError: outgoing traffic has been disabled"]
    assert "HF_HUB_OFFLINE is set" in (diagnose(lines, PLAIN, Situation(repository="org/name")) or "")
    assert diagnose(lines, PLAIN, Situation()) == lines[0]


def test_an_exception_of_this_process_is_read_with_its_causes() -> None:
    try:
        try:
            raise KeyError("no weights")
        except KeyError as error:
            raise RuntimeError("loading failed") from error
    except RuntimeError as error:
        failure = error
    causes = (Cause("no weights", "there are none"),)
    assert diagnose_exception(failure, Diagnostics(causes=causes), Situation()) == "there are none"
    assert diagnose_exception(failure, Diagnostics(), Situation()) == "loading failed"

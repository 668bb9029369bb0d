"""A newcomer's typical mistakes: each start ends, and its last line names the variable, the cause and the remedy.

How long each takes is measured by `make bench-first-hour`.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from mistakes import MISTAKES, Mistake, make, make_files
from prepared_python import engineroom


def forked(arguments: Sequence[str], environ: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return engineroom(*arguments, environ=environ, folder=folder)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.title)
def test_the_last_line_names_variable_cause_and_remedy(mistake: Mistake, tmp_path: Path) -> None:
    make_files(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        answer = make(mistake, tmp_path, busy.getsockname()[1], forked)
    assert answer.code != 0
    missing = [name for name in mistake.names if name not in answer.last_line]
    assert not missing, answer.output[-3000:]
    assert "Traceback" not in answer.output

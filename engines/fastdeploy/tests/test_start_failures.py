"""Why FastDeploy did not start, in one sentence. It does not run here, and no log is recorded: those of `from_report_…`
are shortened from users' reports, those of `from_source_…` are put together from what its sources raise.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_failures import check, names, recording, sentences

from engineroom.server import Situation
from engineroom_fastdeploy.logs import DIAGNOSTICS

LOGS = Path(__file__).with_name("start_failures")
SENTENCES = sentences(LOGS)
ORDINARY = "INFO     2026-01-05 10:00:00,123 4711 engine.py[line:12] waiting for the workers"
MISLEADING = "INFO     2026-01-05 10:00:00,123 4711 api_server.py[line:90] trust_remote_code=True, out of memory"


@pytest.mark.parametrize("name", SENTENCES)
def test_a_log_becomes_the_sentence_that_helps(name: str) -> None:
    record = recording(LOGS / f"{name}.txt")
    model = record.settings["MODEL_NAME"]
    situation = Situation(record.settings, None if model.startswith("/") else model)
    check(record, SENTENCES[name], DIAGNOSTICS, situation, ORDINARY, MISLEADING)


def test_every_log_has_its_sentence() -> None:
    assert names(LOGS) == set(SENTENCES)

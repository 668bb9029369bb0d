"""The variables that an engine with a hub client of its own is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from engineroom.models import HubSettings
from engineroom.settings import Environment


def test_what_survives_is_used_for_models_and_what_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "THING_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)

    def environ(**values: str) -> dict[str, str]:
        env = Environment.of({"BASE_PATH": "/none", "MODEL_NAME": "a/b", **values})
        return HubSettings.load(env).environ(env, ("HF_HOME", "THING_CACHE"), compiled=("THING_CACHE", "thing"))

    volume, home = tmp_path / "volume", tmp_path / "home"
    volume.mkdir()
    home.mkdir()
    result = environ(BASE_PATH=str(volume), HF_TOKEN="secret")
    assert (result["HF_HOME"], result["THING_CACHE"]) == (f"{volume}/huggingface-cache", f"{volume}/thing")
    assert result["HF_TOKEN"] == "secret"
    assert environ(HF_HOME=str(home))["THING_CACHE"] == f"{home}/thing"
    assert environ(HF_HOME=str(home), THING_CACHE="/mine")["THING_CACHE"] == "/mine"
    assert "THING_CACHE" not in environ()
    assert "HF_HUB_OFFLINE" not in environ()

"""An engine's version and the snapshot of its flags that suits it."""

from __future__ import annotations

import json
from pathlib import Path

from engineroom.settings import FlagTable, version_beside


def test_a_version_is_read_off_the_files_beside_a_command(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.12" / "site-packages"
    for name in ("thing-1.2.3.dist-info", "thing_core-9.9.dist-info"):
        (packages / name).mkdir(parents=True)
    command = tmp_path / "bin" / "thing"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    assert version_beside(str(command), "thing") == "1.2.3"
    assert version_beside(str(command), "other") is None
    assert version_beside("/no/such/command", "thing") is None


def test_the_nearest_snapshot_is_found(tmp_path: Path) -> None:
    for version in ("1.2", "1.10", "2.0.1"):
        (tmp_path / f"{version}.json").write_text(json.dumps({"engine": "x", "version": version, "flags": []}))
    near = {
        None: "2.0.1",
        "1.2": "1.2",
        "1.9.9": "1.2",
        "1.10.0+cpu": "1.10",
        "0.1": "1.2",
        "2.0.0": "1.10",
        "9": "2.0.1",
    }
    for asked, expected in near.items():
        assert FlagTable.nearest(tmp_path, asked).version == expected, asked

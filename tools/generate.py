"""Writes the files that follow from the image matrix and the settings models: `make hub`.

With --check it writes nothing and exits with 1 where one is stale.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import chart
import hub_files
import image_table
import images
import limit_table
from docker_bake import docker_environment

from engineroom.errors import EngineroomError
from engineroom.hardware import Image, Matrix

ROOT = images.ROOT


def generated(matrix: Matrix) -> Iterator[tuple[str, str]]:
    """Each file's path in the repository and what it must hold."""
    hub = _json(hub_files.hub(matrix.rows[0], matrix))
    yield "hub.json", hub
    yield ".runpod/hub.json", hub
    yield ".runpod/tests.json", _json(hub_files.tests(matrix.rows[0]))
    yield "Dockerfile", dockerfile(matrix.rows[0])
    yield "worker-config.json", _json(hub_files.worker_config(matrix))
    yield "common/engineroom/hardware/images.json", images.MATRIX.read_text(encoding="utf-8")
    yield from chart.files(matrix)
    for name in image_table.pages(ROOT):
        yield name, page(name, matrix)


def page(name: str, matrix: Matrix) -> str:
    """A page with the images called as the matrix says, and with the table that is its own."""
    text = image_table.renamed((ROOT / name).read_text(encoding="utf-8"), matrix)
    if name == "README.md":
        return image_table.with_badge(text, matrix)
    if name == "docker-compose.yml":
        return re.sub(r"(?<=\$\{IMAGE:-)[^}]*", str(matrix.full_name(matrix.rows[0], "dev")), text)
    if name == "docs/limits.md":
        return limit_table.fill(text)
    if name == "docs/kubernetes.md":
        return chart.fill(text)
    return image_table.fill(text, matrix) if name == "docs/images.md" else text


def dockerfile(image: Image) -> str:
    """The Dockerfile with a row's values as its arguments' defaults, for whoever builds it without arguments."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    values = {
        "BASE": image.base,
        "PACKAGES": image.packages,
        "REINSTALL": image.reinstall,
        "INDEX": image.index,
        "ADD": image.add,
        "ENGINE": image.engine,
        "IMAGE": image.name,
        "ALSO_ON_PATH": image.path or "/usr/local/bin",
        "RUN_AS": image.user,
    }
    for name, value in values.items():
        text = re.sub(rf"^ARG {name}(=.*)?$", f'ARG {name}="{value}"', text, flags=re.MULTILINE)
    return text


def plan() -> str:
    """What Bake makes of the matrix."""
    command = [*images.bake([]), "--print"]
    done = subprocess.run(
        command, cwd=ROOT, env=docker_environment(), capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.rstrip() + "\n"


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    matrix = Matrix.load(images.MATRIX)
    files = list(generated(matrix))
    try:
        files.append(("docker/plan.json", plan()))
    except EngineroomError as error:
        print(f"docker/plan.json is left as it is: {error}", file=sys.stderr)
    stale = [name for name, text in files if not _holds(ROOT / name, text)]
    for name, text in files:
        if name in stale and not check:
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_text(text, encoding="utf-8")
    for name in stale:
        print(f"{name} is stale; `make hub` writes it" if check else f"wrote {name}")
    return 1 if check and stale else 0


def _holds(path: Path, text: str) -> bool:
    if not path.is_file():
        return False
    held = path.read_text(encoding="utf-8")
    # Releases of Bake differ in their white space.
    return held == text or (path.suffix == ".json" and json.loads(held) == json.loads(text))


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EngineroomError as error:
        sys.exit(f"error: {error}")

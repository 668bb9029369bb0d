"""What of a release has to be called the same everywhere: versions, distributions, images.

Each check reads what is really there, files or what was built of them, and returns what does not agree.
"""

from __future__ import annotations

import email
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from email.message import Message
from pathlib import Path
from typing import Any

import image_table
import yaml

from engineroom.hardware import Image, Matrix

Check = Callable[[], Iterable[str]]
_OURS = ("echo", "upstream")
"""Engines that are no other program: their images have our version."""


class ReleaseNames:
    """The names in a checkout.

    Args:
        root: the checkout.
        version: what is to be released.
    """

    def __init__(self, root: Path, version: str) -> None:
        self._root = root
        self._version = version
        self._matrix = Matrix.load(root / "docker/matrix.json")

    @property
    def checks(self) -> Mapping[str, Check]:
        """What is checked of the checkout alone, by what it is about."""
        return {
            "version in every pyproject.toml, and what each needs of the core": self.pyprojects,
            "version in the matrix, for engines that are no other program": self.own_images,
            "distributions in the Makefile, the packages and the folders": self.distributions,
            "engines of the matrix have a distribution and a listing": self.engines,
            "every row: Bake's plan, worker-config.json, docs/images.md": self.rows,
            "repository in worker-config.json, Compose and the pages": self.repository,
            "Compose's image and RunPod's Hub are the first row's": self.first_row,
        }

    def pyprojects(self) -> Iterable[str]:
        for path, text in self._pyprojects().items():
            stated = {*re.findall(r'^version = "(.+)"$', text, re.MULTILINE)}
            stated |= {*re.findall(r'"engineroom(?:-\w+)?(?:\[[\w,-]+\])?==([^"]+)"', text)}
            if wrong := stated - {self._version}:
                yield f"{path} says {', '.join(sorted(wrong))}"

    def own_images(self) -> Iterable[str]:
        for row in self._matrix.rows:
            if row.engine in _OURS and row.version != self._version:
                yield f"docker/matrix.json has {row.name}, of version {row.version}"

    def distributions(self) -> Iterable[str]:
        folders = {path.parent.as_posix() for path in self._pyprojects()}
        made = re.search(r"^DISTRIBUTIONS := (.+)$", (self._root / "Makefile").read_text(), re.MULTILINE)
        yield from _differences("the Makefile's DISTRIBUTIONS", {*(made[1].split() if made else ())}, folders)
        for path, text in self._pyprojects().items():
            name = self.distribution(path.parent)
            if f'\nname = "{name}"\n' not in text:
                yield f"{path} does not call itself {name}"

    def engines(self) -> Iterable[str]:
        folders = {path.parent.name for path in self._pyprojects() if path.parts[0] == "engines"}
        yield from _differences("docker/matrix.json", {row.engine for row in self._matrix.rows}, folders)
        listed = {path.parent.name for path in self._root.glob("engines/*/listing.json")}
        yield from _differences("engines/*/listing.json", listed, folders)

    def rows(self) -> Iterable[str]:
        rows = {row.name for row in self._matrix.rows}
        plan = self._json("docker/plan.json")["target"]
        yield from _differences("docker/plan.json", {*plan}, {row.target for row in self._matrix.rows})
        yield from _differences("worker-config.json", {*self._json("worker-config.json")["versions"]}, rows)
        table = (
            (self._root / "docs/images.md").read_text().partition(image_table.BEGIN)[2].partition(image_table.END)[0]
        )
        yield from _differences("docs/images.md", {*re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)}, rows)

    def repository(self) -> Iterable[str]:
        for row, version in self._json("worker-config.json")["versions"].items():
            wanted = str(self._matrix.full_name(self._row(row), "latest")) if self._row(row) else "nothing"
            if version["imageName"] != wanted:
                yield f"worker-config.json calls {row} {version['imageName']}, and not {wanted}"
        names = image_table.full_names(self._matrix)
        for page in image_table.pages(self._root):
            for name in names.finditer((self._root / page).read_text()):
                if name["repository"] != self._matrix.repository:
                    yield f"{page} has {name[0]}"

    def first_row(self) -> Iterable[str]:
        first = self._matrix.rows[0]
        compose = yaml.safe_load((self._root / "docker-compose.yml").read_text())
        wanted = f"${{IMAGE:-{self._matrix.full_name(first, 'dev')}}}"
        for name, service in compose["services"].items():
            if "IMAGE" in service["image"] and service["image"] != wanted:
                yield f"docker-compose.yml runs {service['image']} as {name}, and not {wanted}"
        for name in ("hub.json", ".runpod/hub.json"):
            if f"This image: {first.engine} {first.version};" not in self._json(name)["description"]:
                yield f"{name} is not of {first.name}"

    def built(self, folder: Path) -> Iterable[str]:
        """What the distributions that were built into `folder` say of themselves."""
        expected = {self.distribution(path.parent) for path in self._pyprojects()}
        wheels = {str(each["Name"]): each for each in map(_metadata_of_wheel, sorted(folder.glob("*.whl")))}
        sdists = {str(each["Name"]): each for each in map(_metadata_of_sdist, sorted(folder.glob("*.tar.gz")))}
        for kind, described in (("wheels", wheels), ("sdists", sdists)):
            yield from _differences(f"the {kind} in {folder.name}/", {*described}, expected)
            for name, message in described.items():
                if message["Version"] != self._version:
                    yield f"{name} of the {kind} has the version {message['Version']}"
        core = next(folder.glob(f"engineroom-{self._version}-*.whl"), None)
        if core is not None:
            with zipfile.ZipFile(core) as wheel:
                packaged = json.loads(wheel.read("engineroom/hardware/images.json"))
            if packaged != self._json("docker/matrix.json"):
                yield "the core's wheel has another table of images than docker/matrix.json"

    def listed(self, sbom: Path) -> Iterable[str]:
        """What an SBOM in CycloneDX's form lists, and of what it says that it is."""
        described = json.loads(sbom.read_text(encoding="utf-8"))
        component = described["metadata"]["component"]
        if (component["name"], component.get("version")) != ("engineroom", self._version):
            yield f"{sbom.name} is of {component['name']} {component.get('version')}"
        pinned = re.findall(r"^([\w.-]+)==", (self._root / "requirements/image.txt").read_text(), re.MULTILINE)
        yield from _differences(sbom.name, {each["name"] for each in described["components"]}, {*pinned})

    def pushed(self, outputs: Mapping[str, str], tag: str) -> Iterable[str]:
        """What the workflow's job `rows` gave: the rows, the repository and the tag that images are pushed under."""
        given = {row["name"]: row["target"] for row in json.loads(outputs["rows"])}
        yield from _differences("the workflow's rows", {*given}, {row.name for row in self._matrix.rows})
        targets = self._json("docker/plan.json")["target"]
        yield from (f"Bake has no target {target}" for target in given.values() if target not in targets)
        if outputs["tag"] != tag:
            yield f"the workflow tags images {outputs['tag']}-…, and the release is {tag}"

    def _row(self, name: str) -> Image | None:
        return next((row for row in self._matrix.rows if row.name == name), None)

    def _json(self, name: str) -> Any:
        return json.loads((self._root / name).read_text(encoding="utf-8"))

    def _pyprojects(self) -> dict[Path, str]:
        """Every distribution's file, by its path in the checkout."""
        paths = sorted([*self._root.glob("*/pyproject.toml"), *self._root.glob("engines/*/pyproject.toml")])
        return {path.relative_to(self._root): path.read_text(encoding="utf-8") for path in paths}

    @staticmethod
    def distribution(folder: Path) -> str:
        """What the distribution in a folder is called on an index."""
        return "engineroom" if folder.name == "common" else f"engineroom-{folder.name}"


def _differences(where: str, has: set[str], wanted: set[str]) -> Iterable[str]:
    yield from (f"{where} lacks {name}" for name in sorted(wanted - has))
    yield from (f"{where} has {name} besides" for name in sorted(has - wanted))


def _metadata_of_wheel(path: Path) -> Message:
    with zipfile.ZipFile(path) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(wheel.read(name))


def _metadata_of_sdist(path: Path) -> Message:
    with tarfile.open(path) as sdist:
        file = sdist.extractfile(f"{path.name.removesuffix('.tar.gz')}/PKG-INFO")
        assert file is not None
        return email.message_from_binary_file(file)

"""The image matrix: which engine, version, CUDA and compute capabilities each image carries.

The rows, and the repository that the images go to, are in `docker/matrix.json`, which Docker's Bake reads as it is. A
copy is installed with this package, so that what deploys or starts an image finds its full name and its row, and a
worker on the wrong machine can name the right image.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import EngineroomError
from .image_names import ImageName, ImageNameError

PACKAGED = Path(__file__).with_name("images.json")
"""The copy of `docker/matrix.json` that is installed with this package; `make hub` writes it."""

IMAGE_REPOSITORY = "IMAGE_REPOSITORY"
"""The variable of what the images are called, up to the tag: `ghcr.io/me/engineroom`. Its default is in the matrix."""

OLDEST_CUDA = {
    "100": (12, 8),
    "101": (12, 8),
    "103": (12, 9),
    "110": (13, 0),
    "120": (12, 8),
    "121": (12, 9),
}
"""The first CUDA version that knows a compute capability (CUDA's release notes). Every CUDA in use here knows those
that are not listed."""

DROPPED_BY_CUDA = {"50": 13, "52": 13, "53": 13, "60": 13, "61": 13, "62": 13, "70": 13, "72": 13}
"""The first CUDA major version that no longer knows a compute capability."""

OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
"""The oldest driver branch under which any minor release of a CUDA major version runs (CUDA compatibility guide)."""


class MatrixError(EngineroomError):
    """The image matrix is wrong, or has no such image; the text says what to correct."""


class Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the matrix.

    name: `<engine>-<version>-cu<CUDA>` or `-cpu`, then `-sm…` if rows differ in nothing else. It ends the tag, too.
    cuda: the version of CUDA inside it, `12.9`; None for an image without CUDA.
    driver: the oldest NVIDIA driver branch that runs it.
    sm: the compute capabilities that it runs on, `89` for 8.9. Those of an upstream base are a fact that we cannot
        choose; the worker checks them when it starts.
    base: the image that it is built on, with a tag.
    path: where the base keeps its programs, if that is not on PATH.
    packages: Debian packages that the base lacks, separated by spaces.
    reinstall, index: an engine's wheel to install over the base's own, and the only index that has it.
    add: what is installed in the worker's own environment beside the worker.
    user: the numeric id that it runs as; 0 is root.
    root: why it runs as root, where it does.
    """

    name: str
    engine: str
    version: str
    base: str
    cuda: str | None = None
    driver: int | None = None
    sm: tuple[str, ...] = ()
    path: str = ""
    packages: str = ""
    reinstall: str = ""
    index: str = ""
    add: str = ""
    user: str = "0"
    root: str = ""

    @property
    def target(self) -> str:
        """The name of its Bake target, in which no dots are allowed."""
        return self.name.replace(".", "-")

    def problems(self) -> list[str]:
        """What is wrong with this row, whatever the other rows are."""
        problems = []
        if not re.fullmatch(re.escape(f"{self.engine}-{self.version}-{self._hardware}") + r"(-sm[\d-]+)?", self.name):
            problems.append(f"its name must begin with {self.engine}-{self.version}-{self._hardware}")
        if not re.search(r":[^/:]+$", self.base) or self.base.endswith(":latest"):
            problems.append(f"its base {self.base!r} must name a tag, and not `latest`")
        if bool(self.reinstall) != bool(self.index):
            problems.append("`reinstall` and `index` go together")
        if (self.cuda is None) != (self.driver is None) or (self.cuda is None) != (not self.sm):
            problems.append("`cuda`, `driver` and `sm` go together")
        if not self.user.isdecimal():
            problems.append(f"its user {self.user!r} must be a numeric id")
        elif (int(self.user) == 0) != bool(self.root):
            problems.append("it runs as a `user` of its own, or says in `root` why it cannot")
        if self.cuda is not None:
            problems += self._cuda_problems(self.cuda)
        return problems

    @property
    def _hardware(self) -> str:
        return "cpu" if self.cuda is None else f"cu{self.cuda.replace('.', '')}"

    def _cuda_problems(self, cuda: str) -> list[str]:
        """Combinations of CUDA, compute capability and driver that cannot work."""
        if not re.fullmatch(r"\d+\.\d", cuda):
            return [f"cuda {cuda!r} is not a version such as 12.9"]
        major, minor = map(int, cuda.split("."))
        problems = []
        for sm in self.sm:
            if not re.fullmatch(r"\d{2,3}", sm):
                problems.append(f"sm {sm!r} is not a compute capability such as 89")
                continue
            oldest_major, oldest_minor = OLDEST_CUDA.get(sm, (0, 0))
            if (oldest_major, oldest_minor) > (major, minor):
                problems.append(
                    f"CUDA {cuda} does not support sm {sm}; {oldest_major}.{oldest_minor} is the first that does"
                )
            if sm in DROPPED_BY_CUDA and major >= DROPPED_BY_CUDA[sm]:
                problems.append(f"CUDA {cuda} no longer supports sm {sm}")
        oldest_driver = OLDEST_DRIVER.get(major)
        if self.driver is not None and oldest_driver and self.driver < oldest_driver:
            problems.append(f"CUDA {cuda} needs driver {oldest_driver} or newer, not {self.driver}")
        return problems


class Matrix:
    """All images. The rows of an engine are in order of preference: take its first image that runs on your machine.

    rows: one an image.
    repository: what all of them are called up to the tag, where nothing says otherwise.
    source: the address of the repository that they are built from; empty where the matrix has none.
    """

    def __init__(self, rows: Sequence[Image], repository: str, source: str = "") -> None:
        self.rows = tuple(rows)
        self.repository = repository
        self.source = source

    @classmethod
    def packaged(cls) -> Matrix:
        """The images of this version of the package."""
        return cls.load(PACKAGED)

    @classmethod
    def load(cls, path: Path) -> Matrix:
        """Read and check a matrix.

        Raises:
            MatrixError: the text names every row that is malformed, cannot work, or is there twice.
        """
        try:
            variables: Any = msgspec.json.decode(path.read_bytes())["variable"]
            raw: list[Any] = variables["IMAGES"]["default"]
            repository: str = variables[IMAGE_REPOSITORY]["default"]
            source: str = variables.get("SOURCE", {}).get("default", "")
        except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
            raise MatrixError(f"{path} is not an image matrix: {error!r}") from error
        rows: list[Image] = []
        problems: list[str] = []
        try:
            ImageName.parse(repository)
        except ImageNameError as error:
            problems.append(f"{IMAGE_REPOSITORY}: {error}")
        for position, row in enumerate(raw, start=1):
            try:
                image = msgspec.convert(row, Image)
            except msgspec.ValidationError as error:
                problems.append(f"row {position} ({_name(row)}): {error}")
                continue
            problems += [f"row {position} ({image.name}): {problem}" for problem in image.problems()]
            for other in rows:
                if other.name == image.name:
                    problems.append(f"row {position} ({image.name}): there is another row with this name")
                elif _identity(other) == _identity(image):
                    problems.append(f"row {position} ({image.name}): {other.name} is the same")
            rows.append(image)
        if problems:
            raise MatrixError(f"{path.name} is wrong:" + "".join(f"\n  {problem}" for problem in problems))
        return cls(rows, repository, source.rstrip("/"))

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that have an image, each once."""
        return tuple(dict.fromkeys(row.engine for row in self.rows))

    def named(self, name: str) -> Image:
        """The row of that name. Raises MatrixError if there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise MatrixError(f"there is no image called {name!r}; there are {', '.join(row.name for row in self.rows)}")

    def select(self, engine: str = "", cuda: str = "", sm: str = "") -> tuple[Image, ...]:
        """The rows that match; an empty string matches all.

        Raises:
            MatrixError: nothing matches; the text lists what there is.
        """
        rows = _narrow(self.rows, "ENGINE", engine, lambda row: (row.engine,))
        rows = _narrow(rows, "CUDA", cuda, lambda row: (row.cuda or "none",))
        return _narrow(rows, "SM", sm, lambda row: row.sm)

    def choose(self, engine: str, sm: Sequence[str] = (), cuda: str = "") -> Image:
        """The image to deploy: the first of an engine that runs on all of these GPUs.

        An image without CUDA runs on any machine, but is taken only where there is no GPU or the engine has no other.

        Args:
            sm: the GPUs' compute capabilities, `89` for 8.9; none for a machine without a GPU.
            cuda: only images with this version of CUDA inside, `12.9`; empty for any.

        Raises:
            MatrixError: there is none; the text says which images would run there, or which CUDA there is.
        """
        own = self.select(engine)
        suitable = [row for row in own if _runs(row, sm)] or [row for row in own if sm and _has_no_gpu_image(own)]
        if not suitable:
            machine = f"on {_capabilities(sm)}" if sm else "without a GPU"
            others = [row for row in self.rows if _runs(row, sm)]
            advice = (
                f"these images do: {', '.join(row.name for row in others)}" if others else "none of the others does"
            )
            offered = "; ".join(f"{row.name} is for {_capabilities(row.sm)}" for row in own)
            raise MatrixError(f"no image of {engine} runs {machine} ({offered}); {advice}")
        return _narrow(suitable, "CUDA", cuda, lambda row: (row.cuda or "none",))[0]

    def full_name(self, image: Image, tag: str, repository: str = "") -> ImageName:
        """What an image is called where it can be pulled from.

        Args:
            tag: what its tag begins with: a version of ours, `latest` or `dev-…`.
            repository: where the images are, if not where the matrix says.

        Raises:
            ImageNameError: `repository` or `tag` cannot be part of a name.
        """
        return ImageName.parse(f"{repository or self.repository}:{tag}-{image.name}")

    def row_of(self, name: str) -> Image | None:
        """The row that an image was built from, by its full name, with or without a model baked in; None for an image
        that is not one of these.

        Raises:
            ImageNameError: it is no name of an image.
        """
        tag = ImageName.parse(name).tag
        rows = [row for row in self.rows if re.search(rf"(^|-){re.escape(row.name)}(-|$)", tag)]
        return max(rows, key=lambda row: len(row.name), default=None)


def _runs(row: Image, sm: Sequence[str]) -> bool:
    """Whether an image is meant for a machine with these GPUs, or for one without any."""
    return set(sm) <= set(row.sm) if sm else row.cuda is None


def _has_no_gpu_image(rows: Sequence[Image]) -> bool:
    return all(row.cuda is None for row in rows)


def _capabilities(sm: Sequence[str]) -> str:
    """Compute capabilities as NVIDIA writes them."""
    if not sm:
        return "machines without a GPU"
    return "compute capability " + ", ".join(f"{number[:-1]}.{number[-1]}" for number in sm)


def _narrow(
    rows: Sequence[Image], column: str, wanted: str, values: Callable[[Image], tuple[str, ...]]
) -> tuple[Image, ...]:
    """The rows that have `wanted` among their values of one column; all if it is empty."""
    matching = tuple(row for row in rows if not wanted or wanted in values(row))
    if not matching:
        # Versions and compute capabilities sort as numbers do if shorter ones come first.
        known = sorted({value for row in rows for value in values(row)}, key=lambda value: (len(value), value))
        raise MatrixError(f"no image has {column}={wanted}; known: {', '.join(known)}")
    return matching


def _identity(row: Image) -> tuple[object, ...]:
    """What two rows must differ in."""
    return row.engine, row.version, row.cuda, frozenset(row.sm)


def _name(row: object) -> object:
    """What to call a row that may be malformed."""
    return row.get("name", "unnamed") if isinstance(row, dict) else "no object"

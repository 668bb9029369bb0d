"""Models and adapters on their way to this machine: processes that can be stopped at any time, and how far they are."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import EngineStartError
from ..process.child import Process
from ..progress import Progress
from ..timeline import Timeline
from .hub import client_environ

logger = logging.getLogger(__name__)

_POLL_S = 0.2


class DownloadedModel(NamedTuple):
    """A model that is on this machine now.

    folder: its snapshot in the cache.
    first: its GGUF file, the first of its parts; None for a model that is the folder.
    """

    folder: Path
    first: Path | None

    @property
    def place(self) -> Path:
        """What an engine loads: the GGUF file or the folder."""
        return self.first or self.folder


class Download:
    """Files on their way to this machine: a process that can be stopped at any time. `await stop()` it always.

    Args:
        what: what it brings, for people.
        command: the process, which prints JSON as `engineroom.models.fetch` does.
        environ: its environment.
        timeline: gets the progress.

    explained: whether it failed for a reason that is known; temporary: whether that may pass by itself.
    """

    def __init__(self, what: str, command: Sequence[str], environ: Mapping[str, str], timeline: Timeline) -> None:
        self._what = what
        self._command = list(command)
        self._environ = client_environ(environ)
        self._timeline = timeline
        self._process: Process | None = None
        self._watch: asyncio.Task[DownloadedModel] | None = None
        self._notes: set[str] = set()
        self.explained = False
        self.temporary = False

    async def start(self) -> None:
        """Begin, and return once the hub has said what there is, or has not within five seconds.

        Raises:
            EngineStartError: with what to do, or else the hub's own last word.
        """
        self._process = await Process.spawn(self._command, name="fetch", environ=self._environ, grace=1, log=False)
        self._watch = asyncio.ensure_future(self._follow(self._process))
        while not self._watch.done() and not self._answers(self._process):
            await asyncio.wait({self._watch}, timeout=_POLL_S)
        if self._watch.done():
            self._watch.result()

    async def model(self) -> DownloadedModel:
        """Wait until it is complete.

        Raises:
            EngineStartError: with what to do, or else the hub's own last word.
        """
        assert self._watch is not None
        return await asyncio.shield(self._watch)

    async def stop(self) -> None:
        """End it. What has been downloaded is kept for the next try."""
        self._timeline.progress = None
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._process is not None:
            await self._process.stop()
            self._process = None

    async def _follow(self, process: Process) -> DownloadedModel:
        ended = asyncio.ensure_future(process.wait())
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=_POLL_S)
                self._report(process)
        finally:
            ended.cancel()
        self._timeline.progress = None
        answer = next(iter(self._answers(process)), {})
        if "folder" in answer:
            folder = Path(answer["folder"])
            return DownloadedModel(folder, folder / answer["first"] if answer["first"] else None)
        self.explained = bool(answer.get("explained"))
        self.temporary = bool(answer.get("temporary"))
        last = process.tail[-1] if process.tail else "no reason given"
        raise EngineStartError(answer.get("error") or f"cannot download {self._what}: {last}")

    def _report(self, process: Process) -> None:
        answers = self._answers(process)
        for answer in answers:
            note = answer.get("note")
            if note and note not in self._notes:
                self._notes.add(note)
                logger.info("%s", note)
        latest = next((answer for answer in answers if "total" in answer), None)
        if latest is not None:
            self._timeline.progress = Progress(self._what, latest["done"], latest["total"])

    @staticmethod
    def _answers(process: Process) -> list[dict[str, Any]]:
        """What the process has said of late, the last first; what its libraries write is left out."""
        return [json.loads(line) for line in reversed(process.tail) if line.startswith("{")]


class ModelDownload(Download):
    """A repository of the Hugging Face Hub on its way into a cache.

    It goes on where an earlier try was broken off, and what is whole already is not fetched again.

    Args:
        repository: `org/name`.
        environ: the hub client's environment, as the engine's own process has it.
        timeline: gets the progress.
        revision: a branch, tag or commit; `main` by default.
        cache: a cache folder; the hub client's own by default.
        wanted: the quantisation or GGUF file that is meant.
        formats: the formats of weights to take, the best first; any by default.
        weights: whether the weights are wanted, and not only what is beside them, as of a tokenizer.
        adapter: whether it is a LoRA adapter in PEFT's layout, and no model.
        client: leave large files to the hub's client, which is fast but begins a file that was broken off anew.
    """

    def __init__(
        self,
        repository: str,
        environ: Mapping[str, str],
        timeline: Timeline,
        *,
        revision: str | None = None,
        cache: str | None = None,
        wanted: str = "",
        formats: Sequence[str] = (),
        weights: bool = True,
        adapter: bool = False,
        client: bool = False,
    ) -> None:
        command = [sys.executable, "-m", "engineroom.models.fetch", repository, "--formats", ",".join(formats)]
        named = {"--revision": revision, "--cache": cache, "--wanted": wanted}
        for option, value in named.items():
            if value:
                command += [option, value]
        for option, given in {"--without-weights": not weights, "--adapter": adapter, "--client": client}.items():
            if given:
                command.append(option)
        super().__init__(repository, command, environ, timeline)


class BucketDownload(Download):
    """An S3 folder on its way into a folder of this machine; what is there already is not fetched again.

    Args:
        address: `s3://bucket/folder`, or a file's.
        folder: where its files are to be.
        environ: its environment, with the AWS_* variables that boto3 reads.
        timeline: gets the progress.
        suffix: what the file ends in that is wanted, `.safetensors` or `.gguf`.
    """

    def __init__(
        self, address: str, folder: Path, environ: Mapping[str, str], timeline: Timeline, *, suffix: str
    ) -> None:
        command = [sys.executable, "-m", "engineroom.models.bucket", address, str(folder), "--suffix", suffix]
        super().__init__(address, command, environ, timeline)


async def download(repository: str, environ: Mapping[str, str], timeline: Timeline, **options: Any) -> DownloadedModel:
    """Download a model, and return once it is complete.

    Args:
        options: those of `ModelDownload`.

    Raises:
        EngineStartError: with what to do, or else the hub's own last word.
    """
    under_way = ModelDownload(repository, environ, timeline, **options)
    try:
        await under_way.start()
        return await under_way.model()
    finally:
        await under_way.stop()

"""The model in Ollama's store: pulled from a registry, or made of files of this machine; then loaded."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engineroom.errors import EngineStartError
from engineroom.models import is_path
from engineroom.progress import Progress

if TYPE_CHECKING:
    import aiohttp

    from engineroom.timeline import Timeline

_PARTS = ("*.safetensors", "*.json", "tokenizer.model", "*.jinja")
"""What Ollama makes a model of, where its weights are safetensors."""
_CHUNK = 1 << 20


class ModelStore:
    """The models of a running Ollama.

    Args:
        session: at Ollama's URL, and without a limit of time: what is pulled or uploaded may be large. It is aiohttp's,
            which sends a file piece by piece; the core's client sends bodies that it has whole.
    """

    def __init__(self, session: aiohttp.ClientSession, timeline: Timeline) -> None:
        self._session = session
        self._timeline = timeline

    async def version(self) -> str:
        """Ollama's own."""
        async with self._session.get("/api/version") as response:
            return str((await response.json())["version"])

    async def show(self, model: str) -> Mapping[str, Any] | None:
        """What Ollama says of a model; None where it has none of that name."""
        status, answer = await self.post("/api/show", {"model": model})
        return answer if status == 200 else None

    async def obtain(self, model: str) -> str:
        """The name by which Ollama has the model: pulled where it has not. Raises EngineStartError."""
        if is_path(model):
            return await self._create(Path(model).expanduser())
        if await self.show(model) is None:
            error = await self._follow("/api/pull", {"model": model}, model)
            if error:
                raise EngineStartError(_why_not_pulled(model, error))
        return model

    async def load(self, path: str, json: Mapping[str, Any]) -> str:
        """Load a model into memory; why that failed, empty where it did not."""
        status, answer = await self.post(path, {**json, "stream": False})
        return "" if status == 200 else str(answer.get("error", answer))

    async def post(self, path: str, json: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and the answer; it may take as long as it takes, until START_TIMEOUT."""
        async with self._session.post(path, json=json) as response:
            return response.status, msgspec.json.decode(await response.read() or b"{}")

    async def _create(self, path: Path) -> str:
        """Make a model of a GGUF file, or a folder of weights; the next start finds it in Ollama's folder."""
        files = {file.relative_to(path if path.is_dir() else path.parent).as_posix(): file for file in _files(path)}
        marks = [f"{file}:{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files.values()]
        model = f"engineroom-local:{hashlib.sha256(repr(marks).encode()).hexdigest()[:12]}"
        if await self.show(model) is None:
            digests = {name: await self._upload(file) for name, file in files.items()}
            error = await self._follow("/api/create", {"model": model, "files": digests}, path.name)
            if error:
                raise EngineStartError(f"MODEL_NAME={path}: Ollama cannot make a model of it: {error}")
        return model

    async def _upload(self, file: Path) -> str:
        digest = await asyncio.to_thread(_digest, file)
        url = f"/api/blobs/{digest}"
        async with self._session.head(url) as there:
            if there.status == 200:
                return digest
        with file.open("rb") as data:
            async with self._session.post(url, data=data) as response:
                if response.status >= 400:
                    raise EngineStartError(f"Ollama does not take {file}: {await response.text()}")
        return digest

    async def _follow(self, path: str, json: Mapping[str, Any], what: str) -> str:
        """Have something done that tells of its progress; the error that it ends with, empty where it ends well."""
        pieces: dict[str, tuple[int, int]] = {}
        try:
            async with self._session.post(path, json=json) as response:
                async for line in response.content:
                    step = msgspec.json.decode(line)
                    if "error" in step:
                        return str(step["error"])
                    if "total" in step:
                        pieces[step.get("digest", "")] = (step.get("completed", 0), step["total"])
                        done, total = (sum(numbers) for numbers in zip(*pieces.values(), strict=True))
                        self._timeline.progress = Progress(what, done, total)
        finally:
            self._timeline.progress = None
        return ""


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(path.glob("*.gguf")) or sorted(file for pattern in _PARTS for file in path.glob(pattern))


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as data:
        while chunk := data.read(_CHUNK):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _why_not_pulled(model: str, error: str) -> str:
    if "file does not exist" in error or "not found" in error:
        return (
            f"MODEL_NAME={model}: Ollama's library has no such model (https://ollama.com/library lists them, with "
            "their tags). A GGUF repository of Hugging Face is named hf.co/org/name, and a file by its path"
        )
    return f"MODEL_NAME={model}: Ollama cannot pull it: {error}"

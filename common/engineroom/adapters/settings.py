"""Where LoRA adapters come from that clients ask for by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from ..models.formats import adapter_base
from ..settings.base import CommaList, Settings
from ..settings.other_names import OtherName, taken

_REPOSITORIES = re.compile(r"[\w.*?-]+/[\w.*?-]+")
_BUCKETS = re.compile(r"s3://[\w.*?-]+(?:/[^/?#\s]+)*/?")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_BUCKET = re.compile(r"s3://[\w.-]+(?:/[\w.=@+ -]+)+")


class AdapterSettings(Settings):
    """LoRA adapters that are loaded when a client first asks for them."""

    title: ClassVar[str] = "LoRA adapters by name"

    other_names: ClassVar[Mapping[str, OtherName]] = {
        **taken("LORA_DIR", ("ADAPTERS_DIR", "LORAS_DIR", "LORA_ADAPTERS_DIR", "NIM_PEFT_SOURCE")),
    }

    lora_dir: str | None = Field(
        None,
        description="A folder of LoRA adapters. Each is served under the name of its subfolder, and looked for again "
        "whenever a client asks for a name that is not known yet.",
    )
    lora_sources: CommaList = Field(
        (),
        description="Repositories and S3 folders, separated by commas, whose LoRA adapters clients may name as the "
        "model (`org/name`, `org/*`, `s3://bucket/loras/*`). None by default: what a client names is downloaded.",
    )

    @field_validator("lora_dir")
    @classmethod
    def _is_a_folder_of_adapters(cls, value: str | None) -> str | None:
        if not value:
            return None
        folder = Path(value).expanduser()
        if not folder.is_dir():
            raise ValueError(f"there is no folder {value}")
        if adapter_base(folder) is not None:
            raise ValueError(f"{value} is an adapter itself; name the folder that it is in")
        return str(folder.absolute())

    @field_validator("lora_sources")
    @classmethod
    def _are_sources(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for source in value:
            if not _REPOSITORIES.fullmatch(source) and not (_BUCKETS.fullmatch(source) and _has_key(source)):
                raise ValueError(
                    f"{source!r} is neither a repository nor an S3 folder; write `org/name`, `org/*`, "
                    "`s3://bucket/folder` or `s3://bucket/folder/*`"
                )
        return value

    @property
    def in_use(self) -> bool:
        """Whether clients may ask for any adapter by name."""
        return bool(self.lora_dir or self.lora_sources)

    def allow(self, name: str) -> bool:
        """Whether a client may have the adapter downloaded that it names: a repository's name, or an S3 folder."""
        if not (_REPOSITORY.fullmatch(name) or _BUCKET.fullmatch(name)) or ".." in name:
            return False
        return any(fnmatchcase(name, source.rstrip("/")) for source in self.lora_sources)


def _has_key(source: str) -> bool:
    """Whether a bucket's address names a folder in it."""
    return "/" in source.removeprefix("s3://").rstrip("/")

"""Bring an S3 folder to this machine: `python -m engineroom.models.bucket s3://bucket/lora FOLDER --suffix .gguf`.

A process of its own, as `engineroom.models.fetch` is, and it prints the same: `{"done": bytes, "total": bytes}`, and
last of all `{"folder": ..., "first": ...}` or `{"error": ..., "explained": ..., "temporary": ...}`. boto3 reads its
settings from the usual variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and AWS_ENDPOINT_URL for a
store that is not Amazon's, such as MinIO, R2 or a RunPod volume.

A file gets its name only once it is whole. A file that is here with the bucket's size and ETag is not fetched again,
and where the bucket cannot be reached, a folder that is here whole is used.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..errors import EngineroomError
from ..installation import how_to_install
from .choice import choose_adapter
from .disk_space import check_room
from .fetch import say
from .hub import HubError

_CONNECT_S = 4
_READ_S = 30
_TRIES = 2
_KNOWN = ".etags.json"
"""The file that notes what is here."""

_REFUSED = frozenset({"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"})


class KnownFiles(msgspec.Struct):
    """What is here of a folder. etags: that of each file that is whole. whole: whether these are all of its files."""

    etags: dict[str, str]
    whole: bool


class BucketFile(NamedTuple):
    """One object. key: its whole name in the bucket."""

    key: str
    size: int
    etag: str


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--suffix", choices=[".safetensors", ".gguf"], required=True)
    options = parser.parse_args()
    try:
        say(**bring(options.address, options.folder, options.suffix))
    except EngineroomError as error:
        say(error=str(error), explained=True, temporary=isinstance(error, HubError) and error.temporary)
        return 1
    return 0


def bring(address: str, folder: Path, suffix: str) -> dict[str, str]:
    """Download what is missing; the folder, and the file in it that is wanted.

    Args:
        suffix: `.safetensors` for an adapter in PEFT's layout, `.gguf` for one file.

    Raises:
        HubError: the bucket cannot be reached, or does not let us read.
        ModelChoiceError: there is no adapter.
    """
    bucket, _, key = address.removeprefix("s3://").partition("/")
    known = _known(folder)
    try:
        client = _client(address)
        wanted = _wanted(_listed(client, bucket, key.rstrip("/"), address), address, suffix)
    except HubError as error:
        if not error.temporary or not known.whole or not all((folder / name).is_file() for name in known.etags):
            raise
        say(note=f"{error}; what is on this machine is used")
        return _brought(folder, known.etags, suffix)
    missing = {name: file for name, file in wanted.items() if not _is_here(folder / name, file, known.etags.get(name))}
    total = sum(file.size for file in missing.values())
    check_room(address, folder, total)
    folder.mkdir(parents=True, exist_ok=True)
    etags = {name: file.etag for name, file in wanted.items() if name not in missing}
    done = 0
    for name, file in missing.items():
        # Old files beside new ones are no adapter: until all are here, it is not whole.
        _note(folder, KnownFiles(etags, whole=False))
        say(done=done, total=total)
        _fetch(client, bucket, file, folder / name, address)
        etags[name] = file.etag
        done += file.size
    _note(folder, KnownFiles(etags, whole=True))
    return _brought(folder, wanted, suffix)


def _brought(folder: Path, names: Iterable[str], suffix: str) -> dict[str, str]:
    return {"folder": str(folder), "first": next(name for name in names if name.endswith(suffix))}


def _client(address: str) -> Any:
    """Raises HubError where boto3 is missing, or its own settings are wrong."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        remedy = how_to_install("engineroom[s3]")
        raise HubError(f"{address} needs boto3: {remedy}, or copy the folder into LORA_DIR") from None
    config = Config(connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries={"total_max_attempts": _TRIES})
    try:
        session = boto3.Session()
        region = os.environ.get("AWS_REGION") or session.region_name or "us-east-1"
        return session.client("s3", config=config, region_name=region)
    except (BotoCoreError, ValueError) as error:
        raise HubError(f"{address} cannot be asked for: {error}") from error


def _listed(client: Any, bucket: str, key: str, address: str) -> dict[str, BucketFile]:
    """What the folder has, or the one file, by names without the folder's."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        if key.endswith(".gguf"):
            head = client.head_object(Bucket=bucket, Key=key)
            return {key.rpartition("/")[2]: BucketFile(key, head["ContentLength"], head["ETag"])}
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{key}/")
        objects = [entry for page in pages for entry in page.get("Contents", ())]
    except (BotoCoreError, ClientError) as error:
        raise _explained(error, address) from error
    return {entry["Key"][len(key) + 1 :]: BucketFile(entry["Key"], entry["Size"], entry["ETag"]) for entry in objects}


def _wanted(there: Mapping[str, BucketFile], address: str, suffix: str) -> dict[str, BucketFile]:
    """Raises HubError where there is nothing of the kind, ModelChoiceError where it is no adapter."""
    plain = {name: file for name, file in there.items() if name and "/" not in name and not name.startswith(".")}
    if not plain:
        raise HubError(f"{address} has no files, or is not there")
    if suffix == ".safetensors":
        return {name: plain[name] for name in choose_adapter(list(plain), address).files}
    files = [name for name in plain if name.endswith(suffix)]
    if len(files) != 1:
        raise HubError(f"{address} has {len(files)} GGUF files; name one with one file, or the file itself")
    return {name: plain[name] for name in files}


def _is_here(path: Path, file: BucketFile, etag: str | None) -> bool:
    return etag == file.etag and path.is_file() and path.stat().st_size == file.size


def _known(folder: Path) -> KnownFiles:
    try:
        return msgspec.json.decode((folder / _KNOWN).read_bytes(), type=KnownFiles)
    except (OSError, msgspec.MsgspecError):
        return KnownFiles({}, whole=False)


def _note(folder: Path, known: KnownFiles) -> None:
    (folder / _KNOWN).write_bytes(msgspec.json.encode(known))


def _fetch(client: Any, bucket: str, file: BucketFile, place: Path, address: str) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    partial = place.with_name(f".{place.name}.{os.getpid()}.incomplete")
    try:
        client.download_file(bucket, file.key, str(partial))
        partial.replace(place)
    except (BotoCoreError, ClientError) as error:
        raise _explained(error, address) from error
    except OSError as error:
        raise HubError(f"{address} cannot be written to {place.parent}: {error.strerror}", temporary=True) from error
    finally:
        partial.unlink(missing_ok=True)


def _explained(error: Exception, address: str) -> HubError:
    """An error of boto3 in words that a person can act on."""
    name = type(error).__name__
    code = str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
    if name in ("NoCredentialsError", "PartialCredentialsError"):
        return HubError(f"{address} needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if code in _REFUSED:
        return HubError(f"the store does not let these credentials read {address} ({code})")
    if code == "NoSuchBucket":
        return HubError(f"the store has no bucket of {address}; for a store that is not Amazon's, set AWS_ENDPOINT_URL")
    if code in ("404", "NoSuchKey"):
        return HubError(f"{address} is not there")
    where = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"
    text = " ".join(str(error).split())
    return HubError(f"{address} cannot be had from {where} now: {text}", temporary=True)


if __name__ == "__main__":
    sys.exit(main())

"""An S3 bucket and a prefix in it: list, read, fetch, put and delete, each by exact key.

Through s3fs's connection, and not its paths: those take some keys for folders and would skip them.
Credentials, endpoint, retries and proxies are the SDK's own: nothing of them passes through here.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from medprotect.errors import (
    ConfigError,
    InputChangedError,
    InputError,
    MedprotectError,
    PeerError,
)
from medprotect.protect.atomic import mapped_errors
from medprotect.scale.store_errors import TAKEN_CODES, UNKNOWN_CODES, code_of, error_of
from medprotect.scale.store_url import StoreUrl, check_endpoint
from medprotect.scan.walk import CHANGED

KEY_BYTES = 1024
"""Longest key of an object."""

PART_BYTES = 16 * 1024**2
"""Of an object that is put in parts; smaller ones are put at once."""

_PARTS = 10_000
_BLOCK_BYTES = 4 * 1024**2
_CONNECTIONS = 32
_ATTEMPTS = 3
_SILENT_SECONDS = 60
_LOGGERS = ("asyncio", "aiobotocore", "aiohttp", "boto3", "botocore", "fsspec", "s3fs", "urllib3")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object, as a listing tells of it.

    Attributes
    ----------
    key : str
        Whole.
    size : int
        Bytes.
    etag : str
        Changes with its content.
    modified_ns : int
        When it was put.
    """

    key: str
    size: int
    etag: str
    modified_ns: int


class Store:
    """A connection to the bucket of a URL.

    Parameters
    ----------
    url : StoreUrl
        Where.
    missing : type of MedprotectError
        The error that there is no such bucket.

    Raises
    ------
    ConfigError
        s3fs is not installed, there are no credentials, or the endpoint is plain HTTP elsewhere
        than on this machine.
    """

    def __init__(self, url: StoreUrl, missing: type[MedprotectError]) -> None:
        try:
            from fsspec.asyn import sync
            from s3fs import S3FileSystem
        except ImportError:
            raise ConfigError(
                "Object stores need the extra s3: pip install 'medprotect[s3]'."
            ) from None

        for name in _LOGGERS:  # they quote keys
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self.url, self._missing, self._sync = url, missing, sync
        self._is_conditional = True
        with self._mapped():
            self._fs = S3FileSystem(
                skip_instance_cache=True,
                use_listings_cache=False,
                config_kwargs={
                    "max_pool_connections": _CONNECTIONS,
                    "read_timeout": _SILENT_SECONDS,
                },
            )
            self._fs.retries = 1  # of the SDK's own, which tries again itself
            self._fs.connect()
            check_endpoint(self._fs.s3.meta.endpoint_url)

    def objects(self) -> Iterator[StoredObject]:
        """Yield every object under the root, in the byte order of the keys.

        Raises
        ------
        PeerError
            The store is away, or refuses.
        MedprotectError
            There is no such bucket.
        """
        more: dict[str, str] = {}
        while True:
            with self._mapped():
                page = self._call("list_objects_v2", Prefix=self.url.root, **more)
            for each in page.get("Contents", ()):
                yield StoredObject(
                    each["Key"], each["Size"], each["ETag"], _nanoseconds(each["LastModified"])
                )
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def read(self, found: StoredObject, start: int, stop: int) -> bytes:
        """Return some bytes of an object, if it still is the one that was found.

        Raises
        ------
        InputChangedError
            It is gone, or another.
        UnsafePathError
            The store refuses this object.
        PeerError
            The store is away, or refuses.
        """
        stop = min(stop, found.size)
        if start >= stop:
            return b""
        data = bytearray()

        def take(block: bytes) -> None:
            data.extend(block)

        self._get(found, take, data.clear, Range=f"bytes={start}-{stop - 1}")
        if len(data) != stop - start:
            raise InputChangedError(CHANGED)
        return bytes(data)

    def fetch(self, found: StoredObject, path: Path) -> None:
        """Write an object to a new file, if it still is the one that was found.

        Raises
        ------
        InputChangedError, UnsafePathError, PeerError
            As `read`.
        OutputError, StorageError
            The file cannot be written.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with mapped_errors():
            file = os.fdopen(os.open(path, flags, 0o600), "wb")

        def take(block: bytes) -> None:
            with mapped_errors():
                file.write(block)

        def begin_anew() -> None:
            with mapped_errors():
                file.seek(0)
                file.truncate()

        try:
            with file:
                self._get(found, take, begin_anew)
            with mapped_errors():
                size = path.stat().st_size
            if size != found.size:
                raise InputChangedError(CHANGED)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _get(
        self,
        found: StoredObject,
        take: Callable[[bytes], None],
        begin_anew: Callable[[], None],
        **options: str,
    ) -> None:
        begun: list[int] = []

        async def get(attempt: int) -> None:
            response = await self._fs._call_s3(
                "get_object",
                Bucket=self.url.bucket,
                Key=found.key,
                IfMatch=found.etag,
                **options,
            )
            begun.append(attempt)
            body = response["Body"]
            try:
                if response.get("ETag", found.etag) != found.etag:  # it knows no IfMatch
                    raise InputChangedError(CHANGED)
                while block := await body.read(_BLOCK_BYTES):
                    take(block)
            finally:
                body.close()

        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._mapped(of_object=True):
                    self._sync(self._fs.loop, get, attempt)
                return
            except PeerError:
                if attempt not in begun or attempt == _ATTEMPTS:
                    raise  # before the body begins, the SDK itself has tried again
                begin_anew()

    def put(self, path: Path, key: str) -> bool:
        """Make an object of a file, whole or not at all; return whether its name was free.

        Raises
        ------
        PeerError
            The store is away, or refuses.
        OutputError, StorageError
            The file cannot be read.
        """
        with mapped_errors():
            size = path.stat().st_size
        if size > PART_BYTES:
            return self._put_parts(path, key, size)
        with mapped_errors():
            data = path.read_bytes()
        return self._commit("put_object", Key=key, Body=data)

    def _put_parts(self, path: Path, key: str, size: int) -> bool:
        part_bytes = max(PART_BYTES, -(-size // _PARTS))
        with self._mapped():
            upload = self._call("create_multipart_upload", Key=key)["UploadId"]
        try:
            parts: list[dict[str, object]] = []
            with mapped_errors():
                file = path.open("rb")
            with file:
                while data := _read(file, part_bytes):
                    number = len(parts) + 1
                    with self._mapped():
                        part = self._call(
                            "upload_part", Key=key, UploadId=upload, PartNumber=number, Body=data
                        )
                    parts.append({"ETag": part["ETag"], "PartNumber": number})
            return self._commit(
                "complete_multipart_upload",
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
        except BaseException:
            self._abort(key, upload)
            raise

    def _commit(self, method: str, **options: Any) -> bool:
        """Call what gives an object its name, unless the name is taken."""
        condition = {"IfNoneMatch": "*"} if self._is_conditional else {}
        try:
            self._call(method, **options, **condition)
        except Exception as error:
            code = code_of(error)
            if code in TAKEN_CODES:
                if "UploadId" in options:
                    self._abort(options["Key"], options["UploadId"])
                return False
            if code not in UNKNOWN_CODES or not condition:
                raise error_of(error, self._missing) from None
            self._is_conditional = False  # an older store; a run looks which names are taken
            return self._commit(method, **options)
        return True

    def _abort(self, key: str, upload: str) -> None:
        try:
            with self._mapped():
                self._call("abort_multipart_upload", Key=key, UploadId=upload)
        except MedprotectError:
            return  # its parts are no object; the bucket's own rules clear them away

    def abort_uploads(self, keys: set[str]) -> None:
        """Clear away the parts of objects that a killed run never completed, if the store lets."""
        try:
            with self._mapped():
                listed = self._call("list_multipart_uploads", Prefix=self.url.root)
        except PeerError:
            return
        for upload in listed.get("Uploads", ()):
            if upload["Key"] in keys:
                self._abort(upload["Key"], upload["UploadId"])

    def delete(self, key: str) -> None:
        """Delete an object.

        Raises
        ------
        PeerError
            The store is away, or refuses.
        """
        with self._mapped():
            self._call("delete_object", Key=key)

    def sha256_of(self, key: str) -> str:
        """Return the hash of an object as it is now, in hex; "" where it cannot be read.

        Raises
        ------
        PeerError
            The store is away, or refuses.
        """
        digest = hashlib.sha256()
        try:
            with self._mapped(of_object=True):
                head = self._call("head_object", Key=key)
            found = StoredObject(key, head["ContentLength"], head["ETag"], 0)
            for start in range(0, found.size, _BLOCK_BYTES):
                digest.update(self.read(found, start, start + _BLOCK_BYTES))
        except InputError:
            return ""
        return digest.hexdigest()

    def _call(self, method: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._fs.call_s3(method, Bucket=self.url.bucket, **options)
        return answer

    @contextmanager
    def _mapped(self, *, of_object: bool = False) -> Iterator[None]:
        """Turn what the SDK raises into an error of ours; its own text holds keys."""
        try:
            yield
        except MedprotectError:
            raise
        except Exception as error:
            raise error_of(error, self._missing, of_object=of_object) from None


def _read(file: Any, size: int) -> bytes:
    with mapped_errors():
        data: bytes = file.read(size)
    return data


def _nanoseconds(time: datetime) -> int:
    return int(time.timestamp() * 1e6) * 1000

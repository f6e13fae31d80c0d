"""The store of a bucket: its clients, and its errors as those of a file system.

Credentials and the endpoint come from the environment, under the names of the AWS SDKs: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL. Google's and Azure's variables are those of obstore.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jobs.errors import STORE_FAILED, SettingsError, is_store_failure

if TYPE_CHECKING:
    from obstore.store import ObjectStore
    from pyarrow.fs import FileSystem

SCHEMES = ("s3://", "gs://", "abfss://")
# How the environment's variables of the stores begin.
VARIABLE_PREFIXES = ("AWS_", "GOOGLE_", "AZURE_")
# The code in an error of S3, and those of wrong credentials or missing permissions.
_CODE = re.compile(r"<Code>(\w+)</Code>")
# The key in obstore's error about a key, with a control character in Rust's notation.
_INVALID = re.compile(r'path: "([^"\n]*)",\n')
_REFUSED = {"AccessDenied", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
_ARROW_REFUSED = re.compile(r"AWS Error (ACCESS_DENIED|INVALID_ACCESS_KEY|INVALID_SIGNATURE|SIGNATURE_DOES_NOT_MATCH|MISSING_AUTH)")
_TIMEOUT_SECONDS = 30
_RETRIES = 3


class StoreError(OSError):
    """The store cannot be reached, or answers with an error of its own."""


def forget_stores() -> None:
    """Read credentials and endpoints from the environment again."""
    store_of.cache_clear()
    arrow_file_system.cache_clear()


@lru_cache(maxsize=16)
def store_of(bucket: str) -> ObjectStore:
    """The store of a bucket, which is named with its scheme: s3://name."""
    from obstore.store import from_url

    timeout = timedelta(seconds=_TIMEOUT_SECONDS)
    # obstore refuses http:// unless it is allowed.
    client: Any = {"allow_http": True, "timeout": timeout} if _is_plain_http() else {"timeout": timeout}
    retries: Any = {"max_retries": _RETRIES, "retry_timeout": timeout}
    config: Any = {"region": _region()}
    return from_url(bucket, config=config if _is_s3(bucket) else None, client_options=client, retry_config=retries)


@lru_cache(maxsize=16)
def arrow_file_system(bucket: str) -> FileSystem:
    """The file system by which Arrow reads Parquet files from a bucket. A path in it begins with the bucket's name."""
    from pyarrow import fs

    if not _is_s3(bucket):
        return fs.FileSystem.from_uri(bucket)[0]
    scheme, _, address = _endpoint().rstrip("/").partition("://")
    return fs.S3FileSystem(
        region=_region(),
        endpoint_override=address or None,
        scheme=scheme or "https",
        connect_timeout=_TIMEOUT_SECONDS,
        request_timeout=_TIMEOUT_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_RETRIES),
    )


def delta_options(bucket: str) -> dict[str, str]:
    """The options with which delta-rs opens a table in a bucket. Of two commits of the same version, the store takes one."""
    options = {"timeout": f"{_TIMEOUT_SECONDS}s"}
    if _is_s3(bucket):
        options |= {"region": _region(), "conditional_put": "etag", "allow_http": str(_is_plain_http()).lower()}
    return options


@contextmanager
def os_errors(path: object) -> Iterator[None]:
    """Raise the errors of the store as those that a file system would raise."""
    from obstore import exceptions

    try:
        yield
    except (exceptions.NotFoundError, FileNotFoundError):
        raise FileNotFoundError(errno.ENOENT, "no such object", str(path)) from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError) as error:
        code = _CODE.search(str(error))
        raise PermissionError(errno.EACCES, f"permission denied ({code[1]})" if code else "permission denied", str(path)) from None
    except exceptions.InvalidPathError as error:
        key = _INVALID.search(str(error))
        what = f"the key {key[1]}" if key else "the key of an object"
        why = f"{what} has a part that is empty, `.` or `..`, or a control character: rename it"
        raise OSError(errno.EINVAL, why, str(path)) from None
    except exceptions.AlreadyExistsError:
        raise FileExistsError(errno.EEXIST, "there is such an object", str(path)) from None
    except exceptions.PreconditionError:
        raise OSError(errno.ESTALE, "changed while it was read", str(path)) from None
    except exceptions.BaseError as error:
        code = _CODE.search(str(error))
        if code and code[1] == "NoSuchBucket":
            raise FileNotFoundError(errno.ENOENT, "there is no such bucket", str(path)) from None
        if code and code[1] in _REFUSED:
            raise PermissionError(errno.EACCES, f"permission denied ({code[1]})", str(path)) from None
        why = f"it answers with {code[1]}" if code else "it cannot be reached"
        raise StoreError(errno.EIO, f"{STORE_FAILED}: {why}", str(path)) from None


def raise_store_failure(error: BaseException, path: object) -> None:
    """Raises StoreError if an error of delta-rs or Arrow says that the store failed, PermissionError if it refused."""
    if is_store_failure(str(error)):
        raise StoreError(errno.EIO, f"{STORE_FAILED}: it cannot be reached", str(path)) from error
    if _ARROW_REFUSED.search(str(error)):
        raise PermissionError(errno.EACCES, "permission denied", str(path)) from error


def _is_s3(bucket: str) -> bool:
    return bucket.startswith("s3://")


def _is_plain_http() -> bool:
    return _endpoint().startswith("http://")


def _endpoint() -> str:
    """The address of the store; empty for S3 itself. Raises SettingsError when it has no scheme."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise SettingsError(f"AWS_ENDPOINT_URL is {endpoint}: begin it with https://, or with http:// for a connection without encryption")
    return endpoint


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"

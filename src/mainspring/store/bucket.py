"""A bucket of S3, or of a store that speaks its protocol, as obstore sees it: opened from a URL, its errors as ours."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from mainspring.errors import ConfigError, MissingExtraError, NotFoundError, StorageError, UnavailableError
from mainspring.secrets import is_reference
from mainspring.store.address import SECRET_BUCKET_OPTIONS, Address

try:
    from obstore import exceptions
    from obstore.store import S3Store
except ImportError as error:
    raise MissingExtraError("obstore", "s3", "S3") from error

# obstore raises the builtin where there is one that fits.
ABSENT = (exceptions.NotFoundError, FileNotFoundError)
ERRORS = (exceptions.BaseError, OSError)


def open_bucket(address: Address, prefix: str = "") -> S3Store:
    """A client of the bucket that an address names, for what lies below a prefix; nothing is connected yet.

    Raises:
        ConfigError: a credential stands in the URL as it is.
        SecretError: a reference can't be resolved.
    """
    settings: dict[str, Any] = {}
    for name in sorted(SECRET_BUCKET_OPTIONS):
        value = address.options.get(name)
        if value and not is_reference(value):
            raise ConfigError(f"{address.place}: `{name}` must be a secret reference, e.g. secret:env/NAME")
        if value:
            settings[name] = str(address.revealed(value))
    endpoint = address.options.get("endpoint")
    if endpoint:
        settings["endpoint"] = endpoint
    region = address.options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return S3Store(
        address.host,
        prefix=prefix or None,
        region=region or "us-east-1",
        skip_signature=address.options.get("anonymous") == "true",
        client_options={
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "connect_timeout": timedelta(seconds=3),
            "timeout": timedelta(seconds=300),
        },
        retry_config={
            "max_retries": 3,
            "retry_timeout": timedelta(seconds=10),
            "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(seconds=1), "base": 2},
        },
        **settings,
    )


def bucket_error(error: Exception, place: str) -> StorageError | NotFoundError:
    """An error of obstore as one of ours; `place` is what was asked for, without anything secret."""
    full = str(error)
    text = " ".join(full.split("Debug source:", maxsplit=1)[0].split())[:300]
    if "NoSuchBucket" in full:
        return StorageError(place, "there is no such bucket")
    if isinstance(error, ABSENT):
        return NotFoundError("object", place)
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError | PermissionError):
        return StorageError(place, "access was denied", "Check the credentials and the bucket's policy.")
    if isinstance(error, exceptions.GenericError | exceptions.JoinError):
        return UnavailableError(place, f"the store can't be reached ({text})")
    return StorageError(place, text)

"""Files in S3: globs, tags that say what is new, and errors that name the object."""

from __future__ import annotations

import gzip
import io

import obstore
import polars as pl
import pytest
from obstore.store import S3Store

from mainspring.data import dataset
from mainspring.data.ingestion import Retry, ingest
from mainspring.errors import ConfigError, InvalidError, NotFoundError, StorageError
from mainspring.testing.services import S3

pytestmark = [pytest.mark.usefixtures("workspace"), pytest.mark.one_backend("the source is S3, whatever the backend")]


@pytest.fixture
def prefix(s3: S3) -> str:
    return s3.url().partition("?")[0]


@pytest.fixture
def bucket(s3: S3, prefix: str) -> S3Store:
    return S3Store(
        s3.bucket, prefix=prefix.rpartition("/")[2], endpoint=s3.endpoint, region="us-east-1", access_key_id="testing",
        secret_access_key="testing", client_options={"allow_http": True},
    )  # fmt: skip


def options(s3: S3) -> str:
    return s3.url().partition("?")[2]


def test_new_objects_are_read_and_old_ones_left_alone(s3: S3, prefix: str, bucket: S3Store) -> None:
    obstore.put(bucket, "raw/jan.csv", b"n\n1\n")
    obstore.put(bucket, "raw/deep/x.csv", b"n\n9\n")
    url = f"{prefix}/raw/*.csv?{options(s3)}"
    first = ingest(url, to="numbers")
    assert first.rows == 1
    assert ingest(url, to="numbers").rows == 0
    obstore.put(bucket, "raw/feb.csv", b"n\n2\n")
    second = ingest(url, to="numbers")
    assert dataset("numbers").to_polars()["n"].to_list() == [1, 2]
    assert second.version is not None
    assert [(source.uri, source.size_bytes) for source in second.version.source] == [(f"{prefix}/raw/feb.csv", 4)]
    assert "key" not in str(second.version.source)
    obstore.put(bucket, "raw/jan.csv", b"n\n7\n")
    with pytest.raises(InvalidError, match=r"raw/jan\.csv: `changed since it was read"):
        ingest(url, to="numbers")


def test_parquet_and_compressed_objects_are_read(s3: S3, prefix: str, bucket: S3Store) -> None:
    pl.DataFrame({"n": [1, 2]}).write_parquet(buffer := io.BytesIO())
    obstore.put(bucket, "raw/a.parquet", buffer.getvalue())
    obstore.put(bucket, "raw/deep/b.csv.gz", gzip.compress(b"n\n3\n"))
    assert ingest(f"{prefix}/raw/**/*?{options(s3)}", to="numbers").rows == 3


def test_what_is_not_there_is_named(s3: S3, prefix: str) -> None:
    with pytest.raises(NotFoundError, match=r"No object `s3://.*\*\.csv`"):
        ingest(f"{prefix}/raw/*.csv?{options(s3)}", to="numbers")
    with pytest.raises(StorageError, match="no such bucket"):
        ingest(f"s3://nobucket/raw/*.csv?{options(s3)}", to="numbers", retry=Retry(attempts=1))
    with pytest.raises(ConfigError, match="must be a secret reference"):
        ingest(f"{prefix}/raw/*.csv?access_key_id=AKIA&{options(s3).partition('&')[0]}", to="numbers")

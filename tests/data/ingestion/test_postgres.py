"""Databases that declare no encoding (`initdb` under LC_ALL=C): their text is UTF-8, or what the address says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import polars as pl
import psycopg
import pytest

from mainspring.data import dataset, list_datasets
from mainspring.data.ingestion import Sql, ingest
from mainspring.errors import InvalidError
from mainspring.testing.services import Postgres
from mainspring.workspace import Workspace, using

pytestmark = pytest.mark.one_backend("what PostgreSQL alone has", name="postgres")


@pytest.fixture
def undeclared(postgres: Postgres) -> Iterator[str]:
    """A database in SQL_ASCII with a table in UTF-8 and one in Latin-1."""
    base = postgres.url().partition("&schema=")[0]
    name = f"ascii_{uuid4().hex}"
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING SQL_ASCII LC_COLLATE 'C' LC_CTYPE 'C'")
    url = base.replace("/postgres?", f"/{name}?")
    with psycopg.connect(url, autocommit=True, client_encoding="SQL_ASCII") as connection:
        assert connection.info.parameter_status("server_encoding") == "SQL_ASCII"
        connection.execute("CREATE TABLE cities (id INT PRIMARY KEY, name TEXT)")
        connection.execute("INSERT INTO cities VALUES (1, 'Łódź'), (2, 'Ulm')".encode())
        connection.execute("CREATE TABLE old (id INT, name TEXT)")
        connection.execute("INSERT INTO old VALUES (1, 'Ulm'), (2, 'Köln')".encode("latin-1"))
    yield url
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.usefixtures("workspace")
def test_text_of_a_source_without_an_encoding_is_utf_8_or_what_the_address_says(undeclared: str) -> None:
    assert ingest(Sql(undeclared, table="cities", cursor="id"), to="cities").rows == 2
    assert dataset("cities").to_polars().rows() == [(1, "Łódź"), (2, "Ulm")]
    with pytest.raises(InvalidError, match=r"0xf6.* is not text in UTF-8\..*`\?client_encoding=LATIN1`"):
        ingest(Sql(undeclared, table="old"), to="old")
    ingest(Sql(f"{undeclared}&client_encoding=LATIN1", table="old"), to="old")
    assert dataset("old").to_polars()["name"].to_list() == ["Ulm", "Köln"]
    for unknown in ("SQL_ASCII", "BOGUS"):
        with pytest.raises(InvalidError, match=rf"client_encoding: `{unknown}` is not an encoding .*=LATIN1`"):
            ingest(Sql(f"{undeclared}&client_encoding={unknown}", table="old"), to="other")


def test_a_workspace_lives_in_a_database_without_an_encoding(undeclared: str, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path, overrides={"database": f"{undeclared}&schema=work"})
    with using(workspace):
        first = dataset("cities").commit(pl.DataFrame({"name": ["Łódź"]}), note="größer")
        assert dataset("cities").append(pl.DataFrame({"name": ["Ulm"]})).parent == first.id
        assert [(version.number, version.note) for version in dataset("cities").versions()] == [(2, ""), (1, "größer")]
        assert [each.dataset for each in list_datasets()] == ["cities"]
    workspace.close()

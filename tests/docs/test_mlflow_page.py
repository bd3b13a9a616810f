"""The table of MLflow's endpoints is that of the routes."""

from __future__ import annotations

from docs.generate_mlflow import PAGE, page


def test_the_table_of_endpoints_is_current() -> None:
    written = PAGE.read_text()
    assert written == page(written), "run `python docs/generate_mlflow.py`"

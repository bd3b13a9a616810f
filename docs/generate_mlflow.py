"""Writes the table of docs/mlflow.md from the routes that are served. A test holds the two together."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from mainspring.server.mlflow.routes import ROUTES

PAGE = Path(__file__).with_name("mlflow.md")
BEGIN, END = "<!-- routes -->\n", "<!-- end of routes -->\n"
FILES = ("GET /mlflow-artifacts/artifacts/{path}", "PUT /mlflow-artifacts/artifacts/{path}")


def table() -> str:
    """The routes of each noun, one noun a row."""
    lines = ["| noun | endpoints below `/api/2.0` |", "| --- | --- |"]
    for module, routes in groupby(ROUTES, lambda route: route.act.__module__):
        noun = module.rpartition(".")[2].replace("_", " ")
        told = [
            f"{route.method} {route.path.removeprefix('/mlflow/').replace('artifact_path...', 'path')}"
            for route in routes
        ]
        told += FILES if noun == "artifacts" else ()
        lines.append(f"| {noun} | {' · '.join(f'`{each}`' for each in told)} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with its table as it should be."""
    head, _, rest = text.partition(BEGIN)
    return head + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))

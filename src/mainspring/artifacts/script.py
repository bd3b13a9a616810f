"""The name of the script that runs: its classes are stored under the module that it is when it is imported."""

from __future__ import annotations

from contextvars import ContextVar

script: ContextVar[str] = ContextVar("script", default="__main__")  # for as long as the process works on a project

"""Small text files beside data: written in one step, and the `.gitignore` that keeps Git from what a pointer stands for."""

from __future__ import annotations

import os
from pathlib import Path

from mainspring.data.trees.scan import OWN_PREFIX


def ignore(path: Path) -> None:
    """Add a file or folder to the `.gitignore` beside it, once, if it lies in a repository."""
    path = path.absolute()
    if not any((folder / ".git").exists() for folder in path.parents):
        return
    file = path.with_name(".gitignore")
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    line = f"/{path.name}".replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?").replace("[", "\\[")
    if line not in text.splitlines():
        replace_text(file, f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n")


def replace_text(file: Path, text: str) -> None:
    """Write a text file anew: whoever reads it finds the old text or the new one."""
    temporary = file.with_name(f"{OWN_PREFIX}{os.getpid()}-{file.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)

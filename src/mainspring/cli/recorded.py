"""What a run recorded, looked at closely: one step, the environment, uncommitted changes, the sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mainspring.cli import text
from mainspring.cli.app import Invocation
from mainspring.cli.attempts import attempt_records, shown_attempts
from mainspring.cli.records import listing, step_document, task_store, text_line
from mainspring.errors import NotFoundError, close_names, listed

if TYPE_CHECKING:
    from mainspring.pipelines.task import Task
    from mainspring.runs import Run


def show_step(invocation: Invocation, run: Run, name: str) -> None:
    """Print everything that is known of one step.

    Raises:
        NotFoundError: the run has no such step.
    """
    tasks = task_store(invocation.workspace).of_run(run.id)
    task = next((task for task in tasks if task.name == name), None)
    if task is None:
        names = [task.name for task in tasks]
        near = close_names(name, names)
        hint = "" if near else f"Its steps: {listed(names)}." if names else "It has no steps."
        raise NotFoundError("step", name, near, hint, owner=f"Run {text.short(run.id)}")
    document = step_document(invocation.workspace, run, task, attempt_records(invocation.workspace, task))
    invocation.show(document, lambda: _step(run, task, document["task"]))


def _step(run: Run, task: Task, record: dict[str, Any]) -> str:
    from mainspring.cli.records import shown_files, undeclared

    reused = record["reused_from_run"]
    before = record["attempts"] if reused else record["attempts"][:-1]
    earlier = " --attempts" if any(each["log"] for each in before) else ""
    facts = [
        ("step", f"{text.bold(task.name)}  {text.state(record['state'])}  ({task.step})"),
        ("run", f"{text.short(run.id)}, {run.name}"),
        ("reused from", f"run {text.short(reused)}" if reused else ""),
        ("took", text.duration(task.wall_s)),
        ("used", ", ".join(part for part in (_cpu(task), _memory(task)) if part)),
        ("attempts", shown_attempts(record["attempts"], reused=bool(reused))),
        ("why", "\n".join(task.reasons)),
        ("undeclared", "\n".join(line.removeprefix("undeclared ") for line in undeclared(task))),
        ("seed", str(task.seed)),
        ("fingerprint", text.short(task.fingerprint or "")),
        ("parameters", "\n".join(f"{name} = {value!r}" for name, value in record["params"].items())),
        ("tags", "\n".join(f"{name} = {value}" for name, value in record["tags"].items() if "mainspring." not in name)),
        ("metrics", "\n".join(f"{name} = {value}" for name, value in record["metrics"].items())),
        ("read", "\n".join(node["label"] for node in record["read"])),
        ("made", "\n".join(node["label"] for node in record["made"])),
        ("error", click.style(task.error, fg="red") if task.error else ""),
        (
            "printed",
            f"mainspring logs {text.short(run.id)} {task.name}{earlier}" if task.log or reused or earlier else "",
        ),
    ]
    parts = [text.facts(facts)]
    for title, found in (
        ("inputs", record["inputs"]),
        ("outputs", _each(record["outputs"])),
        ("artifacts", _each(record["artifacts"])),
    ):
        if found:
            parts.append(f"{text.bold(title)}\n{text.table(['name', 'content', 'size', 'value'], _values(found))}")
    if files := shown_files(record["files"]):
        parts.append(files)
    return "\n\n".join(parts)


def _each(found: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {name: [value] for name, value in found.items()}


def _values(found: dict[str, list[dict[str, Any]]]) -> list[list[str]]:
    rows = []
    for name, values in found.items():
        first = values[0] if len(values) == 1 else {}
        rows.append(
            [
                name,
                text.short(first.get("content_digest", "")),
                text.size(first.get("size_bytes")),
                text_line(listing(values)),
            ]
        )
    return rows


def _cpu(task: Task) -> str:
    return f"{text.duration(task.cpu_s)} of processor time" if task.cpu_s is not None else ""


def _memory(task: Task) -> str:
    return f"at most {text.size(task.peak_bytes)} of memory" if task.peak_bytes else ""


def show_environment(invocation: Invocation, run: Run) -> None:
    """Print the environment that a run recorded.

    Raises:
        NotFoundError: it recorded none.
    """
    import msgspec

    from mainspring.runs import read_environment

    environment = read_environment(invocation.workspace.blobs, run.environment, f"Run {text.short(run.id)}")
    facts = [
        ("python", f"{environment.python} ({environment.implementation})"), ("platform", environment.platform),
        ("digest", environment.digest), *sorted(environment.distributions.items()),
    ]  # fmt: skip
    invocation.show({"run": run.id, "environment": msgspec.to_builtins(environment)}, lambda: text.facts(facts))


def show_diff(invocation: Invocation, run: Run) -> None:
    """Print the uncommitted changes that a run recorded, without secrets.

    Raises:
        NotFoundError: there was no repository.
    """
    commit = _kept(run, "git commit", run.git_commit)
    diff = invocation.workspace.blobs.read(run.git_diff).decode("utf-8", "replace") if run.git_diff else ""
    told = diff.rstrip("\n") or f"No uncommitted changes to commit {commit}."
    invocation.show({"run": run.id, "git_commit": commit, "diff": diff}, told)


def show_code(invocation: Invocation, run: Run) -> None:
    """Print the sources that a run recorded.

    Raises:
        NotFoundError: it recorded none, as of a script that was piped into Python.
    """
    from mainspring.pipelines.code.tree import read_tree

    blobs = invocation.workspace.blobs
    tree = read_tree(_kept(run, "code", run.code), blobs)
    files = [
        {"path": entry.path, "digest": entry.blob, "text": blobs.read(entry.blob).decode("utf-8", "replace")}
        for entry in tree.entries
    ]
    shown = "\n\n".join(
        f"{text.bold(file['path'])}  {text.dim(file['digest'])}\n{file['text'].rstrip()}" for file in files
    )
    invocation.show({"run": run.id, "code_digest": run.code_digest, "files": files}, shown)


def _kept(run: Run, what: str, found: str | None) -> str:
    if found is None:
        raise NotFoundError("record", what, owner=f"Run {text.short(run.id)}")
    return found

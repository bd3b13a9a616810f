"""Where state lives: database, blobs and ledger opened together; the project they belong to; collection of garbage."""

from mainspring.workspace.gc import GcReport, collect, named_blobs
from mainspring.workspace.project import Project, find_project, init_project
from mainspring.workspace.state import State
from mainspring.workspace.workspace import Workspace, current_workspace, find_workspace, using

__all__ = [
    "GcReport",
    "Project",
    "State",
    "Workspace",
    "collect",
    "current_workspace",
    "find_project",
    "find_workspace",
    "init_project",
    "named_blobs",
    "using",
]

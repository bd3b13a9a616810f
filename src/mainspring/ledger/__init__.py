"""The one record: nodes, the edges between them, and events, written in the caller's transaction."""

from mainspring.ledger.actor import Actor, acting, current_actor
from mainspring.ledger.ids import is_sampled, new_id, sample_limit
from mainspring.ledger.ledger import CONFIRMED_BY, Edge, Event, Ledger, Node
from mainspring.ledger.scope import (
    Replay,
    Scope,
    close_scope,
    current_replay,
    current_scope,
    current_task,
    is_replay,
    moving_noted,
    note_moving,
    note_search,
    open_scope,
    within_task,
)

__all__ = [
    "CONFIRMED_BY",
    "Actor",
    "Edge",
    "Event",
    "Ledger",
    "Node",
    "Replay",
    "Scope",
    "acting",
    "close_scope",
    "current_actor",
    "current_replay",
    "current_scope",
    "current_task",
    "is_replay",
    "is_sampled",
    "moving_noted",
    "new_id",
    "note_moving",
    "note_search",
    "open_scope",
    "sample_limit",
    "within_task",
]

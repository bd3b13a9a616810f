"""The columns that every event of a stream has as a row of a table, whatever its data are."""

from __future__ import annotations

EVENT_ID, EVENT_TIME, RECEIVED_AT, EVENT_OFFSET = "event_id", "event_time", "received_at", "event_offset"
OWN: dict[str, str] = {
    EVENT_ID: "str", EVENT_TIME: "datetime[us, UTC]", RECEIVED_AT: "datetime[us, UTC]", EVENT_OFFSET: "i64",
}  # fmt: skip
"""Its id, when it happened, when the log took it, and its place in the stream, by which "what was known" is one number."""

"""Streams: a log of events, embedded or in Redis, and consumers that apply each event's effect exactly once.

`send` appends, `open_log` gives the log of a workspace, `Consumer` hands micro-batches to a `Sink`, `OffsetStore` keeps how far
it got in the transaction of the effect; `serve` takes events over HTTP.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Appended", "Event", "Stream", "event_of"), "mainspring.streams.event"),
        **dict.fromkeys(("Consumer", "Patience", "Sink"), "mainspring.streams.consumer"),
        **dict.fromkeys(("Applied", "DatabaseSink", "OffsetStore"), "mainspring.streams.offsets"),
        **dict.fromkeys(("log_at", "open_log"), "mainspring.streams.opening"),
        "EventLog": "mainspring.streams.log",
        "KeyValueSink": "mainspring.streams.keyvalue",
        "send": "mainspring.streams.sending",
        "StreamsApp": "mainspring.streams.app",
        "serve": "mainspring.streams.server",
    },
)

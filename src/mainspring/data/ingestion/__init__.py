"""Ingestion: rows of files, databases, HTTP APIs, object stores, dlt resources and streams become versions of tables.

`ingest("raw/*.csv", to="flights")` reads what is new since the last time and commits it together with how far it got.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(
            ("Ingested", "forget_cursor", "ingest", "list_cursors", "list_uncommitted"),
            "mainspring.data.ingestion.ingestion",
        ),
        **dict.fromkeys(
            ("StreamIngested", "ingest_stream", "ingested_to", "left_out_of", "newest_of_stream"),
            "mainspring.data.ingestion.consuming",
        ),
        "EventTable": "mainspring.data.ingestion.events",
        **dict.fromkeys(("Cursor", "StagedRows"), "mainspring.data.ingestion._store"),
        **dict.fromkeys(
            ("Batch", "BatchSource", "Interrupted", "Reading", "StaleState"), "mainspring.data.ingestion.source"
        ),
        "Progress": "mainspring.data.ingestion.progress",
        "Retry": "mainspring.data.ingestion.retry",
        "Limits": "mainspring.data.ingestion.staging",
        "Files": "mainspring.data.ingestion.files",
        "Sql": "mainspring.data.ingestion.sql",
        "Http": "mainspring.data.ingestion.http",
        **dict.fromkeys(
            ("LinkHeader", "NextLink", "Offset", "PageNumber", "Paging", "Token"), "mainspring.data.ingestion.paging"
        ),
        "Objects": "mainspring.data.ingestion.objects",
        "Dlt": "mainspring.data.ingestion.dlt",
    },
)

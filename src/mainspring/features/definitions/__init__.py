"""Definitions of features: what people declare, and the records that are made of it and never change.

`entity`, `stream`, `view` and `service` are declared; `resolving` holds them to the data and makes `records`; `rows` and
`demand` compute what a record says, for every use.
"""

__all__ = ["demand", "entity", "records", "resolving", "rows", "service", "stream", "view"]

"""Definitions of features: what people declare, and the records that are made of it and never change.

`entity`, `stream`, `view` and `service` are declared; `resolving` holds them to the data and makes `records`; `rows` and
`demand` compute what a record says, for every use.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Entity", "Key"), ".entity"),
        "Stream": ".stream",
        **dict.fromkeys(("FeatureView", "Projection"), ".view"),
        **dict.fromkeys(("FeatureService", "OnDemandView"), ".service"),
        **dict.fromkeys(("Definition", "OnDemandRecord", "ServiceRecord", "ViewRecord"), ".records"),
    },
)

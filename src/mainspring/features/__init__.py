"""Features: one definition for training and serving.

`definitions` are what people declare and how it is recorded, `aggregation` folds events over time windows with the same
bits offline and online, `history` joins rows to what was known at their instants.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Aggregate", "agg"), ".aggregation.aggregate"),
        **dict.fromkeys(("Entity", "Key"), ".definitions.entity"),
        "Stream": ".definitions.stream",
        **dict.fromkeys(("FeatureView", "Projection"), ".definitions.view"),
        **dict.fromkeys(("FeatureService", "OnDemandView"), ".definitions.service"),
        "Definition": ".definitions.records",
        "facts_of": ".definitions.changes",
        "choose_features": ".chosen",
        **dict.fromkeys(
            ("Change", "Plan", "apply", "find_definition", "get_definition", "list_definitions", "plan"), ".registry"
        ),
        **dict.fromkeys(("Fed", "feed", "fed_to", "fields_of"), ".online.feeding"),
        **dict.fromkeys(("Watermark", "watermark_of"), ".online.watermark"),
        **dict.fromkeys(
            ("Materialized", "iter_materialized", "materialize", "materialize_all"), ".online.materializing"
        ),
        "push": ".online.pushing",
        "FeatureReader": ".online.reader",
        "Vector": ".online.vector",
        "VectorLog": ".parity.log",
        "ParityReport": ".parity.report",
        "verify": ".parity.verifying",
        **dict.fromkeys(
            ("StoredTrainingSet", "TrainingSet", "ViewReport", "store_training_set", "training_set"), ".training"
        ),
        **dict.fromkeys(("Match", "search_definitions"), ".discovery.search"),
        **dict.fromkeys(("Portrait", "describe"), ".discovery.portrait"),
        **dict.fromkeys(("Use", "list_uses"), ".uses"),
    },
)

"""The model registry: immutable versions with signature, example, metrics and lineage; aliases; the predictor.

`register(model, "name", ...)` makes a version, `set_alias` points a name at one, `Predictor` answers records with it.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(("Alias", "AliasMove", "ModelVersion"), "mainspring.models.version"),
        **dict.fromkeys(("Field", "Output", "Problem", "Signature"), "mainspring.models.signature"),
        **dict.fromkeys(("FeatureSet", "GivesFeatures"), "mainspring.models.feature_set"),
        "register": "mainspring.models.registration",
        "ModelStore": "mainspring.models._store",
        **dict.fromkeys(
            (
                "alias_history", "get_model_version", "list_aliases", "list_model_versions", "list_models", "load_model",
                "move_bound_alias", "set_alias",
            ),
            "mainspring.models.registry",
        ),
        **dict.fromkeys(("Predictor", "example_of", "inputs_of"), "mainspring.models.predictor"),
    },
)  # fmt: skip

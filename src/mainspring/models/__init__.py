"""The model registry: immutable versions with signature, example, metrics and lineage; aliases; the predictor.

`register(model, "name", ...)` makes a version, `set_alias` points a name at one, `Predictor` answers records with it.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        **dict.fromkeys(
            ("Alias", "AliasMove", "ModelVersion", "RegisteredModel", "ResourceNeeds", "Stage", "StageMove", "expect_model"),
            "mainspring.models.version",
        ),
        **dict.fromkeys(("Field", "Output", "Problem", "Signature"), "mainspring.models.signature"),
        **dict.fromkeys(("FeatureSet", "GivesFeatures"), "mainspring.models.feature_set"),
        **dict.fromkeys(("InTraining", "register"), "mainspring.models.registration"),
        **dict.fromkeys(("create_version", "register_folder"), "mainspring.models.folder"),
        "register_onnx": "mainspring.models.onnx",
        **dict.fromkeys(("allow_pickle", "revoke_pickle"), "mainspring.models.permission"),
        "expect_loadable": "mainspring.models.pickled",
        **dict.fromkeys(("export_onnx", "load_onnx"), "mainspring.models.onnx_export"),
        **dict.fromkeys(
            ("OnnxExport", "Timing", "expect_graph", "find_onnx_export"), "mainspring.models.onnx_report"
        ),
        "convert_model": "mainspring.models.conversion",
        **dict.fromkeys(("ExportForm", "ModelExport", "export_model"), "mainspring.models.exporting.folder"),
        **dict.fromkeys(("Difference", "VersionDiff", "diff_versions"), "mainspring.models.provenance"),
        **dict.fromkeys(("ModelCard", "extend_card", "model_card", "notes_of"), "mainspring.models.card"),
        "check_environment": "mainspring.models.environment",
        "ModelStore": "mainspring.models._store",
        "check_alias": "mainspring.models._rules",
        **dict.fromkeys(
            ("get_model_version", "list_model_versions", "list_models", "load_model"), "mainspring.models.registry"
        ),
        **dict.fromkeys(
            ("alias_history", "delete_alias", "list_aliases", "move_bound_alias", "rollback", "set_alias"),
            "mainspring.models.aliases",
        ),
        **dict.fromkeys(
            ("create_model", "delete_model", "delete_model_tag", "get_model", "rename_model", "set_model_tags", "update_model"),
            "mainspring.models.registered",
        ),
        **dict.fromkeys(
            ("delete_version", "delete_version_tag", "set_version_tags", "update_version"), "mainspring.models.versions"
        ),
        **dict.fromkeys(("search_model_versions", "search_models"), "mainspring.models.search"),
        **dict.fromkeys(("LoggedMetric", "LoggedModel", "LoggedModelStore"), "mainspring.models.logged"),
        "Promotion": "mainspring.models.promotion",
        **dict.fromkeys(("set_stage", "stage_history"), "mainspring.models.stages"),
        **dict.fromkeys(("Predictor", "example_of", "inputs_of"), "mainspring.models.predictor"),
    },
)  # fmt: skip

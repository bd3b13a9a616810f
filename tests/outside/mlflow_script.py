"""What a user of MLflow does, with the unmodified client against the server named first; writes what it saw as JSON.

Ids, times and addresses are put in words of their own, in the order in which they came, so that what two servers gave can be
compared. It runs in an environment of the client's, where nothing of Mainspring is installed.
"""
# mypy: ignore-errors

from __future__ import annotations

import json
import math
import os
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path

import matplotlib as mpl
import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from requests import HTTPError
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

mpl.use("Agg")
os.environ["MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT"] = (
    "1"  # what a model imports is no server's to say, and takes long to find
)
X, Y = load_iris(return_X_y=True, as_frame=True)
AWKWARD = {"slash/ed": "a/b", "dotted.key": "x.y", "spaced key": 'it\'s "quoted"', "colon:ed": "日本語 😀"}
GENERATED = re.compile(r"[a-z]+-[a-z]+-\d+")  # the name of a run that was given none
FILTERS = [
    "metrics.auc > 0.5",
    "metrics.auc >= 0.9 and params.depth = '3'",
    "metrics.auc != 0.9",
    "metrics.`spaced key` = 2",
    "params.depth LIKE '%3%'",
    "params.depth != '3'",
    "params.`spaced key` = 'it''s'",
    'params."depth" = "3"',
    "params.name ILIKE '%UN 1'",
    "tags.colour = 'red'",
    "tags.`dotted.key` = 'x.y'",
    "tags.colour IS NULL",
    "tags.colour IS NOT NULL",
    "attributes.status = 'FINISHED'",
    "attributes.status != 'FINISHED'",
    "status = 'FAILED'",
    "run_name LIKE 'run %'",
    "attributes.run_name ILIKE 'RUN 1'",
    "tags.`mlflow.runName` = 'run 2'",
    "attributes.start_time > 0",
    "attributes.end_time > 0 AND attributes.created > 0",
    "attributes.artifact_uri LIKE '%artifacts'",
    "user_id = 'me'",
    "metrics.never > 0",
    "parameters.depth = '3'",
    "metric.auc < 2",
    "tag.colour = 'red'",
    "run_id != 'x'",
    "",
]
WRONG = [
    "metrics.auc > 'a'",
    "params.depth = 3",
    "metrics.auc LIKE '1'",
    "foo.bar = 1",
    "attributes.nothing = 'x'",
    "metrics.auc >",
    "metrics.auc = 1 OR params.a = 'b'",
    "attributes.status > 'FINISHED'",
    "params.depth",
    "'; DROP TABLE x",
]
ORDERS = [
    ["metrics.auc DESC"],
    ["metrics.auc ASC"],
    ["params.depth"],
    ["attributes.run_name desc"],
    ["tags.colour", "metrics.auc"],
    ["metrics.odd"],
    ["metrics.odd DESC"],
    ["`metrics`.`spaced key`"],
]


def refused(call, *args, **kwargs):
    """The code of the error that a call ends with."""
    try:
        call(*args, **kwargs)
    except MlflowException as error:
        return error.error_code
    except HTTPError as error:  # of a file
        return error.response.json()["error_code"]
    return "nothing was wrong"


def pages(search, *args, max_results=2, **asked):
    """What a search finds, page after page."""
    found = [search(*args, max_results=max_results, **asked)]
    while found[-1].token:
        found.append(search(*args, max_results=max_results, page_token=found[-1].token, **asked))
    return found


def experiments(client):
    names = [f"exp-{letter}" for letter in "abcde"] + ['slash/ed "q" 😀']
    made = {name: client.create_experiment(name, tags={"n": str(n)}) for n, name in enumerate(names)}
    client.set_experiment_tag(made["exp-a"], "mlflow.note.content", "a note")
    client.rename_experiment(made["exp-b"], "renamed")
    client.delete_experiment(made["exp-c"])
    told = {
        "ids are digits": all(each.isdecimal() for each in made.values()),
        "duplicate": refused(client.create_experiment, "exp-a"),
        "of a deleted one": refused(client.create_experiment, "exp-c"),
        "no name": refused(client.create_experiment, ""),
        "none of this id": refused(client.get_experiment, "123456789"),
        "none of this name": client.get_experiment_by_name("nobody"),
        "by name": [client.get_experiment_by_name(name).name for name in ("exp-a", names[-1])],
        "tags": client.get_experiment(made["exp-a"]).tags,
        "deleted": client.get_experiment(made["exp-c"]).lifecycle_stage,
        "times": [
            client.get_experiment(made["exp-a"]).creation_time > 1e12,
            client.get_experiment(made["exp-a"]).last_update_time > 1e12,
        ],
        "default": [client.get_experiment("0").name, client.get_experiment("0").lifecycle_stage],
        "run in a deleted one": refused(client.create_run, made["exp-c"]),
    }
    for name, asked in {
        "all": {"view_type": ViewType.ALL},
        "gone": {"view_type": ViewType.DELETED_ONLY},
        "like": {"filter_string": "name LIKE 'exp-%'"},
        "ilike": {"filter_string": "name ILIKE 'EXP-A'"},
        "tag": {"filter_string": "tags.n = '1'"},
        "by name": {"order_by": ["name DESC"]},
        "by id": {"order_by": ["experiment_id ASC"]},
        "time": {"filter_string": "creation_time > 0 AND name != 'exp-a' AND name != 'Default'", "order_by": ["name"]},
    }.items():
        told[f"search {name}"] = [each.name for each in client.search_experiments(**asked)]
    told["bad search"] = [
        refused(client.search_experiments, filter_string=each) for each in ("nam = 'x'", "name > 'a'", "name = 1")
    ]
    told["pages"] = [[each.name for each in page] for page in pages(client.search_experiments, order_by=["name"])]
    client.restore_experiment(made["exp-c"])
    told["restored"] = client.get_experiment(made["exp-c"]).lifecycle_stage
    told["restored twice"] = refused(client.restore_experiment, made["exp-c"])
    client.delete_experiment(made["exp-c"])
    told["deleted twice"] = refused(client.delete_experiment, made["exp-c"])
    client.restore_experiment(made["exp-c"])
    return told


def shown(run):
    data, info = run.data, run.info
    name = None if info.run_name == "run" or GENERATED.fullmatch(info.run_name) else info.run_name
    unlike = ("mlflow.user", "mlflow.source.name", "mlflow.source.git.commit", *(() if name else ("mlflow.runName",)))
    tags = {key: value for key, value in data.tags.items() if key not in unlike}
    return {
        "name": name,
        "status": info.status,
        "stage": info.lifecycle_stage,
        "params": data.params,
        "metrics": data.metrics,
        "tags": {key: described(value) for key, value in tags.items()},
        "ended": bool(info.end_time),
        "experiment": info.experiment_id.isdecimal(),
        "times": info.start_time > 1e12,
        "artifacts": info.artifact_uri.partition(":")[0],
        "inputs": [
            [
                each.dataset.name,
                each.dataset.digest,
                each.dataset.source_type,
                described(each.dataset.source),
                described(each.dataset.schema),
                described(each.dataset.profile),
                [[tag.key, tag.value] for tag in each.tags],
            ]
            for each in run.inputs.dataset_inputs
        ],
        "models in": len(run.inputs.model_inputs),
        "models out": [each.step for each in (run.outputs.model_outputs if run.outputs else [])],
    }


def described(text):
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return text
    return value if isinstance(value, dict | list) else text


def runs(client):
    mlflow.set_experiment("runs")
    experiment = mlflow.get_experiment_by_name("runs").experiment_id
    told, ids = {}, []
    with mlflow.start_run(run_name="parent", description="what it is") as parent:
        mlflow.log_params({"depth": 3, "rate": 0.1, **AWKWARD})
        mlflow.log_metric("auc", 0.9)
        for step, value in enumerate([1.0, math.nan, 0.25]):
            mlflow.log_metric("loss", value, step=step)
        mlflow.log_metric("loss", 7.0, step=-1)
        mlflow.log_metric("late", 1.0, step=5)
        mlflow.log_metric("late", 2.0, step=3)
        mlflow.log_metrics({"spaced key": 2, "slash/ed": -1e-300, "int": 3})
        mlflow.set_tags({"colour": "red", **AWKWARD})
        mlflow.set_tag("colour", "blue")
        mlflow.set_tag("gone", "soon")
        mlflow.delete_tag("gone")
        with (
            mlflow.start_run(run_name="child", nested=True) as child,
            mlflow.start_run(run_name="run grand", nested=True),
        ):
            mlflow.log_metric("auc", 0.1)
        told["same param"] = refused(client.log_param, parent.info.run_id, "depth", "3")
        told["other param"] = refused(client.log_param, parent.info.run_id, "depth", "4")
        told["empty key"] = refused(client.log_metric, parent.info.run_id, "", 1.0)
        told["bad keys"] = [
            refused(client.log_metric, parent.info.run_id, each, 1.0) for each in ("a/../b", "😀", "/a", "a\nb")
        ]
        told["no tag"] = refused(client.delete_tag, parent.info.run_id, "nobody")
    told["parent"], told["child"] = shown(client.get_run(parent.info.run_id)), shown(client.get_run(child.info.run_id))
    told["parent is named"] = client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id
    told["the parent"] = client.get_parent_run(child.info.run_id).info.run_name
    told["history"] = [[each.value, each.step] for each in client.get_metric_history(parent.info.run_id, "loss")]
    told["no history"] = client.get_metric_history(parent.info.run_id, "never")
    for n in range(8):
        run = client.create_run(
            experiment, run_name=f"run {n}", start_time=1_700_000_000_000 + n, tags={"mlflow.user": "me"}
        )
        ids.append(run.info.run_id)
        colours = [RunTag("colour", ["red", "blue", "green"][n % 3])] if n % 4 else []
        odd = [Metric("odd", [math.nan, 1.0, -1.0][n % 3], 1, 0)] if n != 5 else []
        client.log_batch(
            run.info.run_id,
            [Metric("auc", n / 10, 1_700_000_000_000, 0), Metric("auc", n / 8, 1_700_000_000_001, 0), *odd],
            [Param("depth", str(n % 4)), Param("name", f"un {n}")],
            colours,
        )
        client.set_terminated(run.info.run_id, ["FINISHED", "FAILED", "KILLED"][n % 3], end_time=1_700_000_009_000)
    told["one of them"] = shown(client.get_run(ids[2]))
    told["end"] = [
        client.get_run(ids[2]).info.start_time,
        client.get_run(ids[2]).info.end_time,
        client.get_run(ids[2]).info.user_id,
    ]

    return told | searched(client, experiment, ids) | changed(client, experiment, ids)


def found_runs(client, experiment, text, **more):
    if (code := refused(client.search_runs, [experiment], text, **more)) != "nothing was wrong":
        return code
    return [each.info.run_name for each in client.search_runs([experiment], text, **more) if "ru" in each.info.run_name]


def searched(client, experiment, ids):
    told = {}
    for each in FILTERS:
        told[f"filter {each}"] = found_runs(client, experiment, each)
    for each in WRONG:
        told[f"wrong {each}"] = refused(client.search_runs, [experiment], each)
    for each in ORDERS:
        told[f"order {each}"] = found_runs(client, experiment, "run_name LIKE 'run %'", order_by=each)
    told["bad order"] = refused(client.search_runs, [experiment], order_by=["nothing.x"])
    told["ids"] = [
        each.info.run_name
        for each in client.search_runs([experiment], f"attributes.run_id IN ('{ids[0]}', '{ids[3]}')")
    ]
    found = pages(client.search_runs, [experiment], "params.depth != ''", max_results=3, order_by=["metrics.auc"])
    told["pages"] = [[each.info.run_name for each in page] for page in found]
    frame = mlflow.search_runs(["0", experiment], "attributes.status = 'FAILED'")
    told["frame"] = [sorted(frame.columns), frame["metrics.auc"].tolist()]
    return told


def changed(client, experiment, ids):
    told = {}
    client.delete_run(ids[0])
    told["deleted"] = [
        client.get_run(ids[0]).info.lifecycle_stage,
        found_runs(client, experiment, "run_name = 'run 0'"),
        found_runs(client, experiment, "run_name = 'run 0'", run_view_type=ViewType.ALL),
        found_runs(client, experiment, "", run_view_type=ViewType.DELETED_ONLY),
    ]
    told["log to a deleted one"] = refused(client.log_metric, ids[0], "auc", 1.0)
    client.restore_run(ids[0])
    told["restored"] = client.get_run(ids[0]).info.lifecycle_stage
    client.update_run(ids[1], status="RUNNING", name="other name")
    told["renamed"] = [
        client.get_run(ids[1]).info.run_name,
        client.get_run(ids[1]).data.tags["mlflow.runName"],
        client.get_run(ids[1]).info.status,
    ]
    told["nobody"] = [
        refused(client.get_run, "0" * 32),
        refused(client.get_run, "x/../y"),
        refused(client.log_param, "0" * 32, "a", "b"),
        refused(client.delete_run, "0" * 32),
    ]
    told["too many"] = refused(
        client._tracking_client.store.log_batch, ids[2], [Metric("m", 1.0, 0, n) for n in range(1001)], [], []
    )
    told["twice in a batch"] = refused(client.log_batch, ids[2], params=[Param("p", "1"), Param("p", "2")])
    told["nothing of it"] = client.get_run(ids[2]).data.params
    with mlflow.start_run(run_id=ids[3]):
        mlflow.log_metric("resumed", 1.0)
    told["resumed"] = shown(client.get_run(ids[3]))
    try:
        with mlflow.start_run(run_name="breaks"):
            raise ZeroDivisionError
    except ZeroDivisionError:
        told["broken"] = mlflow.last_active_run().info.status
    with mlflow.start_run(run_name="asynchronous") as run:
        waiting = [mlflow.log_metric("many", float(n), step=n, synchronous=False) for n in range(50)]
        for each in waiting:
            each.wait()
    told["asynchronous"] = len(client.get_metric_history(run.info.run_id, "many"))
    return told


def kept(client):
    """What Mainspring keeps, finds or refuses, and MLflow's own store doesn't."""
    with mlflow.start_run() as run:
        mlflow.log_metrics({"high": math.inf, "low": -math.inf})
        client.log_param(run.info.run_id, "long", "x" * 6001)
        mlflow.set_tag("colour", "red")
    found = client.get_run(run.info.run_id)
    lists = refused(client.search_runs, [run.info.experiment_id], "tags.colour IN ('red', 'blue')")
    text = refused(client.search_model_versions, "version_number = 'a'")
    client.set_tag(run.info.run_id, "long", "x" * 8001)
    odd = refused(client.log_param, run.info.run_id, "p!@", "1")
    made = client.create_run(run.info.experiment_id)
    client.update_run(made.info.run_id, status="FINISHED")
    client.create_registered_model("kept")
    client.create_model_version("kept", f"runs:/{run.info.run_id}/nothing", run.info.run_id)
    client.set_registered_model_alias("kept", "live", "1")
    named = [list(each.aliases) for each in client.search_model_versions("name = 'kept'")]
    client.delete_registered_model("kept")
    client.create_experiment("taken")
    default = [refused(client.rename_experiment, "0", "taken"), refused(client.delete_experiment, "0")]
    if default[-1] == "nothing was wrong":
        client.restore_experiment("0")
    return {
        "characters of tags": len(client.get_run(run.info.run_id).data.tags["long"]),
        "odd name": odd,
        "ended": client.get_run(made.info.run_id).info.end_time is not None,
        "aliases found": named,
        "default": default,
        "metrics": found.data.metrics,
        "characters": len(found.data.params["long"]),
        "lists of tags": lists,
        "text for a number": text,
    }


def in_parts(path):
    """Log a file as clients are told to log large ones, in parts of a server that takes them."""
    large = {"MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true", "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "1000"}
    os.environ.update(large)
    mlflow.log_artifact(path, "large")
    for name in large:
        del os.environ[name]


def artifacts(client):
    told = {}
    with mlflow.start_run(run_name="artifacts") as run:
        run_id = run.info.run_id
        mlflow.log_text("one\r\ntwo 😀", "deep/er/text.txt")
        mlflow.log_dict({"a": [1, {"b": None}]}, "told.json")
        mlflow.log_dict({"a": 1}, "told.yaml")
        mlflow.log_table({"n": [1, 2], "s": ["a", "b"]}, "table.json")
        mlflow.log_table({"n": [3], "s": ["c"]}, "table.json")
        mlflow.log_image(np.zeros((4, 4, 3), dtype=np.uint8), "image.png")
        mlflow.log_figure(pd.DataFrame({"a": [1, 2]}).plot().figure, "figure.png")
        with tempfile.TemporaryDirectory() as folder:
            for path, content in {"a b/é.bin": bytes(range(256)) * 4096, "empty": b"", "x/y/z.txt": b"z"}.items():
                (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / path).write_bytes(content)
            mlflow.log_artifacts(folder, "folder")
            mlflow.log_artifact(Path(folder) / "empty")
            in_parts(f"{folder}/a b/é.bin")
        told["text"] = mlflow.artifacts.load_text(f"runs:/{run_id}/deep/er/text.txt")
        told["dict"] = mlflow.artifacts.load_dict(f"runs:/{run_id}/told.json")
        told["table"] = mlflow.load_table("table.json", run_ids=[run_id]).to_dict("list")
        for path in (None, "deep", "large", "folder", "folder/x", "folder/a b", "told.json", "nowhere"):
            told[f"in {path}"] = [
                [each.path, each.is_dir, each.file_size if "png" not in each.path else 0]
                for each in client.list_artifacts(run_id, path)
            ]
        local = Path(client.download_artifacts(run_id, "folder"))
        told["downloaded"] = {
            str(each.relative_to(local)): each.stat().st_size for each in sorted(local.rglob("*")) if each.is_file()
        }
        told["bytes"] = (local / "a b" / "é.bin").read_bytes() == bytes(range(256)) * 4096
        for path in ("../../secret", "/etc/passwd", "a/../../b", "%2e%2e/x"):
            told[f"list {path}"] = refused(client.list_artifacts, run_id, path)
        told["no file"] = refused(client.download_artifacts, run_id, "nothing.txt") != "nothing was wrong"
        repository = mlflow.store.artifact.artifact_repository_registry.get_artifact_repository(run.info.artifact_uri)
        repository.delete_artifacts("told.yaml")
        told["after deleting"] = [each.path for each in client.list_artifacts(run_id)]
    return told


def datasets(client):
    told = {}
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"], "c": [0.5, None, 1.5]})
    with mlflow.start_run(run_name="datasets") as run:
        mlflow.log_input(
            mlflow.data.from_pandas(frame, source="https://example.org/frame.csv", name="frame", targets="a"),
            context="training",
        )
        mlflow.log_input(
            mlflow.data.from_numpy(np.arange(6.0).reshape(2, 3), name="array"),
            context="validation",
            tags={"of": "test"},
        )
        mlflow.log_input(mlflow.data.from_numpy(np.arange(6.0).reshape(2, 3), name="array"), context="validation")
    told["run"] = shown(client.get_run(run.info.run_id))
    experiment = [run.info.experiment_id]
    for text in (
        "dataset.name = 'frame'",
        "datasets.name LIKE 'arr%'",
        "dataset.context = 'training'",
        "dataset.name = 'nobody'",
        "dataset.name IN ('frame', 'x')",
    ):
        told[text] = [each.info.run_name for each in client.search_runs(experiment, text)]
    return told


def logged(model):
    return {
        "name": model.name,
        "status": str(model.status),
        "type": model.model_type,
        "params": model.params,
        "tags": {
            key: value
            for key, value in model.tags.items()
            if not key.startswith(("mlflow.user", "mlflow.source", "mlflow.model"))
        },
        "metrics": sorted(
            [each.key, None if each.key.endswith("_time") else each.value, each.step, str(each.dataset_name)]
            for each in model.metrics or []
        ),
        "run": bool(model.source_run_id),
        "location": model.artifact_location.partition(":")[0],
    }


def autologging(client):
    mlflow.set_experiment("autologging")
    experiment = mlflow.get_experiment_by_name("autologging").experiment_id
    mlflow.sklearn.autolog(log_input_examples=True)
    told = {}
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(X, Y)
    model.score(X, Y)
    run = mlflow.last_active_run()
    told["fit"] = shown(run)
    told["files"] = [each.path for each in client.list_artifacts(run.info.run_id)]
    GridSearchCV(LogisticRegression(max_iter=300), {"C": [0.5, 1.0]}, cv=2).fit(X, Y)
    search = mlflow.last_active_run()
    told["search"] = shown(search)
    children = client.search_runs(
        [experiment], f"tags.mlflow.parentRunId = '{search.info.run_id}'", order_by=["params.C"]
    )
    told["children"] = [[each.data.params["C"], sorted(each.data.metrics)] for each in children]
    mlflow.sklearn.autolog(disable=True)
    found = mlflow.search_logged_models(
        [experiment], output_format="list", order_by=[{"field_name": "creation_time", "ascending": True}]
    )
    told["models"] = [logged(each) for each in found]
    again = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model")
    told["loaded"] = again.predict(X).tolist() == model.predict(X).tolist()
    try:
        import lightgbm
        import xgboost
    except ImportError:
        return told
    for flavor, fit in (
        (
            mlflow.xgboost,
            lambda: xgboost.train(
                {"objective": "reg:squarederror", "nthread": 1},
                xgboost.DMatrix(X, Y),
                3,
                evals=[(xgboost.DMatrix(X, Y), "train")],
                verbose_eval=False,
            ),
        ),
        (
            mlflow.lightgbm,
            lambda: lightgbm.train(
                {"objective": "regression", "num_threads": 1, "verbose": -1}, lightgbm.Dataset(X, Y), 3
            ),
        ),
    ):
        flavor.autolog()
        fit()
        flavor.autolog(disable=True)
        run = mlflow.last_active_run()
        told[flavor.__name__] = shown(run)
        told[f"{flavor.__name__} files"] = [each.path for each in client.list_artifacts(run.info.run_id)]
    return told


def version(found):
    return {
        "name": found.name,
        "version": str(found.version),
        "stage": found.current_stage,
        "description": found.description,
        "tags": found.tags,
        "aliases": sorted(found.aliases),
        "status": found.status,
        "source": described(re.sub(r"[0-9a-f]{32}", "ID", found.source or "")),
        "run": bool(found.run_id),
        "times": found.creation_timestamp > 1e12,
    }


def registry(client):
    mlflow.set_experiment("registry")
    told = {}
    model = LogisticRegression(max_iter=200).fit(X, Y)
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(X, model.predict(X)),
            input_example=X.head(2),
            registered_model_name="iris",
            pip_requirements=["scikit-learn"],
            params={"max_iter": 200},
            metadata={"of": "test"},
        )
        mlflow.log_metric("accuracy", 0.97, model_id=info.model_id)
    told["run"] = shown(client.get_run(run.info.run_id))
    told["info"] = [info.registered_model_version, sorted(info.flavors), info.signature.to_dict()]
    told["logged"] = logged(mlflow.get_logged_model(info.model_id))
    told["files"] = (
        [each.path for each in client.list_logged_model_artifacts(info.model_id)]
        if hasattr(client, "list_logged_model_artifacts")
        else None
    )
    mlflow.register_model(info.model_uri, "iris", tags={"a": "b"})
    third = client.create_model_version(
        "iris", info.model_uri, run.info.run_id, description="third", tags={"k": "v"}, model_id=info.model_id
    )
    told["third"] = version(third)
    told["versions"] = [version(each) for each in client.search_model_versions("name = 'iris'")]
    told["latest"] = [each.version for each in client.get_latest_versions("iris")]
    return told | pointed(client, info, run, model) | described_models(client)


def pointed(client, info, run, model):
    told = {}
    client.set_registered_model_alias("iris", "champion", "1")
    client.set_registered_model_alias("iris", "champion", "2")
    client.set_registered_model_alias("iris", "Challenger_2", "2")
    told["alias"] = version(client.get_model_version_by_alias("iris", "champion"))
    told["aliases"] = client.get_registered_model("iris").aliases
    told["bad aliases"] = [
        refused(client.set_registered_model_alias, "iris", each, "1") for each in ("latest", "v1", "a b", "")
    ]
    told["alias of no version"] = refused(client.set_registered_model_alias, "iris", "x", "9")
    for uri in (
        "models:/iris@champion",
        "models:/iris/1",
        "models:/iris/latest",
        info.model_uri,
        f"runs:/{run.info.run_id}/model",
    ):
        predicted = mlflow.pyfunc.load_model(uri).predict(X.head(5))
        told[f"load {re.sub(r'[0-9a-f]{32}', 'ID', uri)}"] = (
            np.asarray(predicted).tolist() == model.predict(X.head(5)).tolist()
        )
    told["load nobody"] = [
        refused(mlflow.pyfunc.load_model, uri) for uri in ("models:/iris@nobody", "models:/iris/99", "models:/nobody/1")
    ]
    client.delete_registered_model_alias("iris", "Challenger_2")
    client.delete_registered_model_alias("iris", "never-set")
    told["no alias"] = refused(client.get_model_version_by_alias, "iris", "Challenger_2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told["staged"] = version(client.transition_model_version_stage("iris", "1", "Production"))
        told["staged next"] = version(
            client.transition_model_version_stage("iris", "2", "production", archive_existing_versions=True)
        )
        told["stages"] = {each.version: each.current_stage for each in client.search_model_versions("name = 'iris'")}
        told["bad stage"] = refused(client.transition_model_version_stage, "iris", "1", "Best")
        told["latest in"] = {
            stage: [each.version for each in client.get_latest_versions("iris", [stage])]
            for stage in ("Production", "Archived", "None", "Staging")
        }
        told["by stage"] = mlflow.sklearn.load_model("models:/iris/Production").predict(X.head(3)).tolist()
    return told


def described_models(client):
    told = {}
    first = client.get_model_version("iris", "1")
    run_id, model_id = first.run_id, first.source.removeprefix("models:/")
    client.update_registered_model("iris", "flowers")
    client.update_model_version("iris", "1", "the first")
    client.set_registered_model_tag("iris", "team", "😀")
    client.set_model_version_tag("iris", "1", "checked", "yes")
    client.set_model_version_tag("iris", "1", "gone", "yes")
    client.delete_model_version_tag("iris", "1", "gone")
    client.set_registered_model_tag("iris", "gone", "yes")
    client.delete_registered_model_tag("iris", "gone")
    found = client.get_registered_model("iris")
    told["model"] = [
        found.name,
        found.description,
        found.tags,
        found.aliases,
        sorted((each.version, each.current_stage) for each in found.latest_versions),
    ]
    told["first"] = version(client.get_model_version("iris", "1"))
    for n in range(4):
        client.create_registered_model(f"model {n}", tags={"n": str(n)}, description=f"number {n}")
    told["duplicate"] = refused(client.create_registered_model, "iris")
    told["bad names"] = [refused(client.create_registered_model, each) for each in ("", "a/b", "a:b")]
    for text in ("name LIKE 'model%'", "name ILIKE 'IRI%'", "name = 'iris'", "tags.n = '2'", "", "tag.team = '😀'"):
        told[f"models {text}"] = [each.name for each in client.search_registered_models(text)]
    for text in (
        "run_id = 'x'",
        f"run_id = '{run_id}'",
        "name = 'iris' and tags.checked = 'yes'",
        "version_number > 1",
        "name = 'nobody'",
        "version_number IN (1, 2)",
    ):
        told[f"versions {re.sub(r'[0-9a-f]{32}', 'ID', text)}"] = (
            [[each.name, each.version] for each in client.search_model_versions(text, order_by=["version_number ASC"])]
            if "IN (1" not in text
            else refused(client.search_model_versions, text)
        )
    told["bad filters"] = [
        refused(client.search_registered_models, each) for each in ("name > 'a'", "what = 'x'", "name LIKE 1")
    ]
    told["bad version filter"] = refused(client.search_model_versions, "what = 'x'")
    told["pages"] = [
        [each.name for each in page] for page in pages(client.search_registered_models, order_by=["name DESC"])
    ]
    client.rename_registered_model("model 0", "model zero")
    told["renamed"] = [
        client.get_registered_model("model zero").name,
        refused(client.get_registered_model, "model 0"),
        refused(client.rename_registered_model, "model 1", "iris"),
    ]
    client.delete_registered_model("model 1")
    told["deleted"] = refused(client.get_registered_model, "model 1")
    client.delete_model_version("iris", "3")
    told["deleted version"] = [
        refused(client.get_model_version, "iris", "3"),
        [each.version for each in client.search_model_versions("name = 'iris'")],
    ]
    told["next number"] = client.create_model_version("iris", f"models:/{model_id}", run_id, model_id=model_id).version
    told["uri"] = client.get_model_version_download_uri("iris", "1").partition(":")[0]
    told["nobody"] = [
        refused(client.get_model_version, "nobody", "1"),
        refused(client.get_registered_model, "nobody"),
        refused(client.delete_registered_model, "nobody"),
    ]
    return told


def logged_models(client):
    experiment = client.create_experiment("logged models")
    mlflow.set_experiment("logged models")
    told, made = {}, []
    for n in range(4):
        made.append(
            client.create_logged_model(
                experiment, name=f"m{n}", params={"depth": str(n)}, tags={"n": str(n)}, model_type="tree"
            )
        )
        client.finalize_logged_model(made[-1].model_id, ["READY", "FAILED"][n % 2])
    with mlflow.start_run() as run:
        for n, model in enumerate(made):
            client.log_metric(
                run.info.run_id,
                "auc",
                n / 10,
                model_id=model.model_id,
                dataset_name="d",
                dataset_digest="1" if n else "2",
            )
    client.set_logged_model_tags(made[0].model_id, {"colour": "red", "gone": "yes"})
    client.delete_logged_model_tag(made[0].model_id, "gone")
    told["id"] = bool(re.fullmatch(r"m-[0-9a-f]{32}", made[0].model_id))
    told["all"] = [logged(client.get_logged_model(each.model_id)) for each in made]
    for text in (
        "metrics.auc > 0.1",
        "params.depth = '1'",
        "tags.colour = 'red'",
        "name = 'm2'",
        "name LIKE 'm%' AND tags.n != '1'",
        "attributes.model_type = 'tree'",
        "creation_timestamp > 0",
    ):
        found = mlflow.search_logged_models([experiment], text, output_format="list", order_by=[{"field_name": "name"}])
        told[text] = [each.name for each in found]
    best = mlflow.search_logged_models(
        [experiment], order_by=[{"field_name": "metrics.auc", "ascending": False}], output_format="list", max_results=2
    )
    told["best"] = [each.name for each in best]
    told["by dataset"] = [
        each.name
        for each in mlflow.search_logged_models(
            [experiment],
            "metrics.auc >= 0",
            datasets=[{"dataset_name": "d", "dataset_digest": "2"}],
            output_format="list",
        )
    ]
    told["bad"] = refused(mlflow.search_logged_models, [experiment], "nothing = 'x'", output_format="list")
    client.delete_logged_model(made[3].model_id)
    told["deleted"] = [
        refused(client.get_logged_model, made[3].model_id),
        len(mlflow.search_logged_models([experiment], output_format="list")),
    ]
    told["nobody"] = refused(client.get_logged_model, "m-" + "0" * 32)
    return told


def prompts(client):
    told = {}
    first = mlflow.genai.register_prompt("greeting", "Hello {{name}}", commit_message="first", tags={"tone": "kind"})
    second = mlflow.genai.register_prompt("greeting", [{"role": "user", "content": "Hi {{name}}"}])
    mlflow.genai.set_prompt_alias("greeting", "live", second.version)
    told["versions"] = [
        [each.name, each.version, each.template, each.commit_message, each.tags] for each in (first, second)
    ]
    told["loaded"] = [
        mlflow.genai.load_prompt(each).version
        for each in ("prompts:/greeting/1", "prompts:/greeting@live", "prompts:/greeting@latest")
    ]
    told["said"] = mlflow.genai.load_prompt("prompts:/greeting/1").format(name="you")
    told["found"] = [each.name for each in mlflow.genai.search_prompts()]
    told["among models"] = [each.name for each in client.search_registered_models("name = 'greeting'")]
    told["nobody"] = mlflow.genai.load_prompt("prompts:/nobody/1", allow_missing=True)
    mlflow.genai.delete_prompt_alias("greeting", "live")
    told["alias is gone"] = refused(mlflow.genai.load_prompt, "prompts:/greeting@live")
    told["kinds of errors"] = [
        raised(each) for each in ("prompts:/nobody/1", "prompts:/greeting@live", "prompts:/greeting/9")
    ]
    return told


def raised(prompt):
    """The type of the error that loading a prompt ends with, which MLflow's client makes of what the server says."""
    try:
        mlflow.genai.load_prompt(prompt)
    except MlflowException as error:
        return [type(error).__name__, error.error_code]


SECTIONS = [experiments, runs, kept, artifacts, datasets, autologging, registry, logged_models, prompts]


def normal(text):
    seen = {}
    return re.sub(r"[0-9a-f]{40}|[0-9a-f]{32}", lambda each: seen.setdefault(each[0], f"id-{len(seen)}"), text)


def main(address, *sections):
    mlflow.set_tracking_uri(address)
    client = MlflowClient()
    told = {}
    for section in SECTIONS:
        if not sections or section.__name__ in sections:
            began = time.perf_counter()
            told[section.__name__] = section(client)
            print(f"{section.__name__}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
    print(normal(json.dumps(told, default=str)))


if __name__ == "__main__":
    main(*sys.argv[1:])

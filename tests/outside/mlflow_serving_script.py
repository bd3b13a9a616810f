"""What MLflow's unmodified client registers at the server named first, and what it predicts with it itself; as JSON."""
# mypy: ignore-errors

from __future__ import annotations

import json
import sys

import mlflow
import pandas as pd
import xgboost
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression

ROWS = pd.DataFrame({"x": [n % 7 / 2 for n in range(40)], "y": [n * 3 % 11 / 4 for n in range(40)]})
LATE = (ROWS["x"] * ROWS["y"] > 2).astype(int)


def registered(client):
    found = {}
    with mlflow.start_run() as run:
        for name, flavour, model, more in (
            ("linear", mlflow.sklearn, LogisticRegression(), {"serialization_format": "skops"}),
            ("pickled", mlflow.sklearn, LogisticRegression(), {"serialization_format": "cloudpickle"}),
            ("trees", mlflow.xgboost, xgboost.XGBClassifier(n_estimators=5), {}),
        ):  # fmt: skip
            logged = flavour.log_model(
                model.fit(ROWS, LATE), name=name, input_example=ROWS[:5], registered_model_name=name, **more
            )
            version = client.get_model_version(name, "1")
            again = mlflow.pyfunc.load_model(f"models:/{name}/1")
            found[name] = {
                "predicted": again.predict(ROWS).tolist(),
                "seen": [
                    version.status, version.run_id == run.info.run_id, version.source == f"models:/{logged.model_id}"
                ],
            }  # fmt: skip
    return found | {"rows": ROWS.to_dict("records")}


if __name__ == "__main__":
    mlflow.set_tracking_uri(sys.argv[1])
    print(json.dumps(registered(MlflowClient())))

"""What MLflow's unmodified client logs by itself of a training in PyTorch Lightning, to the server named first; as JSON."""
# mypy: ignore-errors

from __future__ import annotations

import json
import sys

import mlflow
import pytorch_lightning as lightning
import torch
from mlflow import MlflowClient
from mlflow_script import X, Y, logged, normal, shown


class Line(lightning.LightningModule):
    """A linear model."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, _):
        loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def autologging(client):
    torch.manual_seed(0)
    mlflow.set_experiment("torch")
    mlflow.pytorch.autolog(checkpoint_monitor="loss")
    rows = torch.tensor(X.to_numpy(), dtype=torch.float32), torch.tensor(Y.to_numpy(), dtype=torch.float32)[:, None]
    model = Line()
    trainer = lightning.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*rows), batch_size=50))
    run = mlflow.last_active_run()
    again = mlflow.pytorch.load_model(f"runs:/{run.info.run_id}/model")
    return {
        "fit": shown(run),
        "history": [[each.value, each.step] for each in client.get_metric_history(run.info.run_id, "loss")],
        "files": [each.path for each in client.list_artifacts(run.info.run_id)],
        "checkpoints": [each.path for each in client.list_artifacts(run.info.run_id, "checkpoints")],
        "models": [
            logged(each) for each in mlflow.search_logged_models([run.info.experiment_id], output_format="list")
        ],
        "loaded": torch.equal(again.layer.weight, model.layer.weight),
    }


if __name__ == "__main__":
    mlflow.set_tracking_uri(sys.argv[1])
    print(normal(json.dumps(autologging(MlflowClient()), default=str)))

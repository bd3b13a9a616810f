"""What the newest run found: errors, gates, and its figures, which are written beside this file."""

import shutil
from pathlib import Path

from mainspring.pipelines import RunResult
from mainspring.runs import RunStore
from mainspring.workspace import Workspace

HERE = Path(__file__).parent


def main() -> None:
    with Workspace.open(HERE) as workspace:
        result = RunResult(workspace, RunStore(workspace.database).list(kind="pipeline", limit=1)[0])
        for evaluation in result.output("evaluations"):
            told = "  ".join(f"{metric} {value:.3f}" for metric, value in evaluation.metrics.items())
            print(f"{evaluation.subject:10} {told}")
        print("", *result.output("gates"), sep="\n")
        shutil.copytree(result.output("figures"), HERE / "figures", dirs_exist_ok=True)
        print(f"\n{result.output('version')} forecasts the next 28 days:")
        print(result.output("next").group_by("station", maintain_order=True).first().head(5))
        print("The figures are in ./figures")


if __name__ == "__main__":
    main()

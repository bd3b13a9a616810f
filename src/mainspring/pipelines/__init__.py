"""Steps and pipelines: recorded as graphs, run from recorded code, cached by what they mean, replayed and compared.

A decorated function stays a plain function. Inside a pipeline its call becomes a task; the engine decides for each task
whether an earlier result may be reused, gives the rest to a runner, and every runner calls one function
(`pipelines.execution.execute`), which commits the outputs under a fencing token.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Failed": "mainspring.pipelines.task",
        "Listener": "mainspring.pipelines.progress",
        "Pipeline": "mainspring.pipelines.pipeline",
        "RunResult": "mainspring.pipelines.results",
        "Step": "mainspring.pipelines.step",
        "StepOptions": "mainspring.pipelines.step",
        "Task": "mainspring.pipelines.task",
        "TaskState": "mainspring.pipelines.task",
        "check_environment": "mainspring.pipelines.environment",
        "env": "mainspring.pipelines.code.declared",
        "file": "mainspring.pipelines.code.declared",
        "pipeline": "mainspring.pipelines.pipeline",
        "replay_run": "mainspring.pipelines.replay",
        "resume_run": "mainspring.pipelines.launch",
        "run_pipeline": "mainspring.pipelines.launch",
        "scratch": "mainspring.pipelines.code.declared",
        "step": "mainspring.pipelines.step",
    },
)

from mainspring.evaluation.evaluate import evaluate as evaluate
from mainspring.evaluation.evaluation import (
    Evaluation as Evaluation,
)
from mainspring.evaluation.evaluation import (
    SliceValues as SliceValues,
)
from mainspring.evaluation.evaluation import (
    recorded_evaluation as recorded_evaluation,
)
from mainspring.evaluation.gate import (
    Gate as Gate,
)
from mainspring.evaluation.gate import (
    GateReport as GateReport,
)
from mainspring.evaluation.gate import (
    GateResult as GateResult,
)
from mainspring.evaluation.gate import (
    decide as decide,
)
from mainspring.evaluation.metric import (
    Metric as Metric,
)
from mainspring.evaluation.metric import (
    get_metric as get_metric,
)
from mainspring.evaluation.metric import (
    list_metrics as list_metrics,
)
from mainspring.evaluation.slice import Slice as Slice

from mainspring import streams as streams
from mainspring.data import check as check
from mainspring.data import dataset as dataset
from mainspring.data import sql as sql
from mainspring.errors import MainspringError as MainspringError
from mainspring.pipelines.code.declared import env as env
from mainspring.pipelines.code.declared import file as file
from mainspring.pipelines.code.declared import scratch as scratch
from mainspring.pipelines.pipeline import pipeline as pipeline
from mainspring.pipelines.step import step as step
from mainspring.pipelines.task import Failed as Failed
from mainspring.runs import log_artifact as log_artifact
from mainspring.runs import log_dataset as log_dataset
from mainspring.runs import log_figure as log_figure
from mainspring.runs import log_file as log_file
from mainspring.runs import log_metric as log_metric
from mainspring.runs import log_metrics as log_metrics
from mainspring.runs import log_note as log_note
from mainspring.runs import log_param as log_param
from mainspring.runs import log_table as log_table
from mainspring.runs import log_tag as log_tag
from mainspring.runs import log_text as log_text
from mainspring.runs import search_runs as search_runs
from mainspring.runs import start_run as start_run
from mainspring.secrets import Secret as Secret
from mainspring.workspace import Workspace as Workspace

__version__: str

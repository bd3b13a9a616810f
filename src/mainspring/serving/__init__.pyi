from mainspring.serving.app import ServingApp as ServingApp
from mainspring.serving.endpoint import (
    Endpoint as Endpoint,
)
from mainspring.serving.endpoint import (
    Logging as Logging,
)
from mainspring.serving.endpoint import (
    bind as bind,
)
from mainspring.serving.endpoint import (
    get_endpoint as get_endpoint,
)
from mainspring.serving.endpoint import (
    list_endpoints as list_endpoints,
)
from mainspring.serving.explanation import Explanation as Explanation
from mainspring.serving.explanation import explain as explain
from mainspring.serving.label_rule import LabelRule as LabelRule
from mainspring.serving.online import OnlinePredictor as OnlinePredictor
from mainspring.serving.online import load_predictor as load_predictor
from mainspring.serving.online import service_of as service_of
from mainspring.serving.outside import OutsideService as OutsideService
from mainspring.serving.outside import find_outside_service as find_outside_service
from mainspring.serving.outside import outside_service as outside_service
from mainspring.serving.runtime import Proposal as Proposal
from mainspring.serving.runtime import Runtime as Runtime
from mainspring.serving.runtime import proposed_runtime as proposed_runtime
from mainspring.serving.server import serve as serve

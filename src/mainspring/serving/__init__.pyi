from mainspring.serving.app import ServingApp as ServingApp
from mainspring.serving.endpoint import (
    Endpoint as Endpoint,
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
from mainspring.serving.server import serve as serve

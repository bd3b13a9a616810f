from mainspring.web.app import Answer as Answer
from mainspring.web.app import Request as Request
from mainspring.web.app import WebApp as WebApp
from mainspring.web.body import read_json as read_json
from mainspring.web.metrics import Metrics as Metrics
from mainspring.web.request_error import RequestError as RequestError
from mainspring.web.server import serve_app as serve_app

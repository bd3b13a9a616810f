from mainspring.server.mlflow.records import Records as Records
from mainspring.server.mlflow.routes import ROUTES as ROUTES
from mainspring.server.mlflow.wire import Route as Route

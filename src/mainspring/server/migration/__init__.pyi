from mainspring.server.migration.exporting import Exported as Exported
from mainspring.server.migration.exporting import export_mlflow as export_mlflow
from mainspring.server.migration.importing import Imported as Imported
from mainspring.server.migration.importing import import_mlflow as import_mlflow

from mainspring.models.exporting.folder import ExportForm as ExportForm
from mainspring.models.exporting.folder import ModelExport as ModelExport
from mainspring.models.exporting.folder import export_model as export_model

from mainspring.serving.explanation.explaining import explain as explain
from mainspring.serving.explanation.record import Attribution as Attribution
from mainspring.serving.explanation.record import Binding as Binding
from mainspring.serving.explanation.record import Explanation as Explanation
from mainspring.serving.explanation.record import ModelRun as ModelRun
from mainspring.serving.explanation.record import ReadFeature as ReadFeature
from mainspring.serving.explanation.record import ReadView as ReadView
from mainspring.serving.explanation.record import UsedDataset as UsedDataset

from mainspring.serving.predictions.compacting import compact_predictions as compact_predictions
from mainspring.serving.predictions.finding import find_prediction as find_prediction
from mainspring.serving.predictions.finding import scan_predictions as scan_predictions
from mainspring.serving.predictions.log import PredictionLog as PredictionLog
from mainspring.serving.predictions.log import prediction_log as prediction_log
from mainspring.serving.predictions.record import Entry as Entry
from mainspring.serving.predictions.record import Logged as Logged
from mainspring.serving.predictions.record import Source as Source

from mainspring.serving.batch.prediction import BatchPrediction as BatchPrediction
from mainspring.serving.batch.prediction import predict_batch as predict_batch
from mainspring.serving.batch.progress import BatchProgress as BatchProgress

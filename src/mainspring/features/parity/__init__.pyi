from mainspring.features.parity.log import VectorLog as VectorLog

from mainspring.serving.protocols.call import Call as Call
from mainspring.serving.protocols.call import Outcome as Outcome
from mainspring.serving.protocols.inference import Inference as Inference
from mainspring.serving.protocols.invocations import Invocations as Invocations

from mainspring.features.parity.log import VectorLog as VectorLog
from mainspring.features.parity.report import Cause as Cause
from mainspring.features.parity.report import FeatureParity as FeatureParity
from mainspring.features.parity.report import Mismatch as Mismatch
from mainspring.features.parity.report import ParityReport as ParityReport
from mainspring.features.parity.report import ViewParity as ViewParity
from mainspring.features.parity.verifying import verify as verify

from mainspring.models._store import ModelStore as ModelStore
from mainspring.models.feature_set import FeatureSet as FeatureSet
from mainspring.models.feature_set import GivesFeatures as GivesFeatures
from mainspring.models.predictor import Predictor as Predictor
from mainspring.models.predictor import example_of as example_of
from mainspring.models.predictor import inputs_of as inputs_of
from mainspring.models.registration import register as register
from mainspring.models.registry import (
    alias_history as alias_history,
)
from mainspring.models.registry import (
    get_model_version as get_model_version,
)
from mainspring.models.registry import (
    list_aliases as list_aliases,
)
from mainspring.models.registry import (
    list_model_versions as list_model_versions,
)
from mainspring.models.registry import (
    list_models as list_models,
)
from mainspring.models.registry import (
    load_model as load_model,
)
from mainspring.models.registry import (
    move_bound_alias as move_bound_alias,
)
from mainspring.models.registry import (
    set_alias as set_alias,
)
from mainspring.models.signature import (
    Field as Field,
)
from mainspring.models.signature import (
    Output as Output,
)
from mainspring.models.signature import (
    Problem as Problem,
)
from mainspring.models.signature import (
    Signature as Signature,
)
from mainspring.models.version import (
    Alias as Alias,
)
from mainspring.models.version import (
    AliasMove as AliasMove,
)
from mainspring.models.version import (
    ModelVersion as ModelVersion,
)

from mainspring.features.server.app import FeaturesApp as FeaturesApp
from mainspring.features.server.serving import serve as serve

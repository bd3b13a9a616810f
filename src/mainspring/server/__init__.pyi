from mainspring.server.app import ServerApp as ServerApp
from mainspring.server.serving import serve as serve

from mainspring.server.app import ServerApp as ServerApp
from mainspring.server.serving import serve as serve
from mainspring.server.token import Token as Token
from mainspring.server.token import TokenStore as TokenStore

from mainspring.testing.codecs import check_codec_laws as check_codec_laws
from mainspring.testing.processes import Child as Child
from mainspring.testing.processes import crowd as crowd
from mainspring.testing.services import postgres_server as postgres_server
from mainspring.testing.services import redis_server as redis_server
from mainspring.testing.services import s3_server as s3_server

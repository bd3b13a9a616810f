"""For tests: the contract suite of every backend, laws that implementations obey, and servers to run them on.

A backend of your own is tested in ten lines: subclass `mainspring.testing.databases.DatabaseContract`,
`mainspring.testing.blobs.BlobStoreContract`, `mainspring.testing.keyvalues.KeyValueContract` or
`mainspring.testing.leases.LeaseContract` and give its URL.
`mainspring.testing.plugin` has the fixtures that run a test on both pairs of backends.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Child": ".processes",
        "check_codec_laws": ".codecs",
        "crowd": ".processes",
        "postgres_server": ".services",
        "redis_server": ".services",
        "s3_server": ".services",
    },
)

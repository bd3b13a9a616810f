"""An endpoint as a container image: what it needs, in layers whose digests depend on nothing else.

`needs` finds what serving imports by doing it, `distributions` and `wheels` where that comes from, `layers` writes it,
`base` and `registry` read the image below, `layout` is the folder that all of it becomes; `image` puts it together, and
`dockerfile` writes the same for those who build it themselves.
"""

from mainspring.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "BuiltImage": ".image",
        "build_image": ".image",
        "WrittenContext": ".dockerfile",
        "write_dockerfile": ".dockerfile",
    },
)

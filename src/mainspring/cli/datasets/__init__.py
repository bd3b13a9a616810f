"""The commands under `mainspring data`, each imported when it is called."""

__all__: list[str] = []

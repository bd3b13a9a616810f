"""The command line: one file per noun, imported when its command is called.

A command parses, makes one call of the API and prints. `main.cli` is the group; `app` holds what commands share.
"""

__all__: list[str] = []

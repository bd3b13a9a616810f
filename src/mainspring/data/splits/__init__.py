"""Splits: rules that put each row of a table into one part, folds, what leaks between parts, and how even classes are.

A rule is a frozen record, so it is in the lineage of the step that takes it; `keys` says how a key becomes a number.
`mainspring.data` exports what is public.
"""

__all__: list[str] = []

"""Secrets are references, never values: `secret:env/NAME`, `secret:file/PATH`.

A reference is what gets recorded, hashed and shown; it is resolved where it is used. What was resolved, and what looks
like a secret, is taken out of every text that is about to be recorded.
"""

from mainspring.secrets.names import names_secret
from mainspring.secrets.redaction import LineRedaction, redact, redact_value
from mainspring.secrets.reference import Secret, is_reference, references_in, resolve
from mainspring.secrets.refusal import refuse_name, refuse_output, refuse_value

__all__ = [
    "LineRedaction",
    "Secret",
    "is_reference",
    "names_secret",
    "redact",
    "redact_value",
    "references_in",
    "refuse_name",
    "refuse_output",
    "refuse_value",
    "resolve",
]

"""Views: a ledger as text for terminals and as static HTML for notebooks."""

from ctxguard.view.html import to_html
from ctxguard.view.routing import routing_parts
from ctxguard.view.text import one_line, renderables, to_text
from ctxguard.view.verification import verification_parts

__all__ = [
    "one_line",
    "renderables",
    "routing_parts",
    "to_html",
    "to_text",
    "verification_parts",
]

"""A report as one page: light and dark, wide and narrow; no script, nothing loaded from elsewhere."""

from __future__ import annotations

from html import escape

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--bar:#3b6fb6}
body{font:15px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}.note{opacity:.75;max-width:46rem}
.wide{overflow-x:auto}.pair{display:flex;flex-wrap:wrap;gap:0 2.5rem}.pair>div{max-width:100%}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.85rem}
td,th{padding:.2rem .45rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th{vertical-align:bottom}td:first-child,th:first-child,.text td,.text th{text-align:left}
td:first-child{white-space:nowrap}td.words{overflow-wrap:anywhere;min-width:18rem;white-space:pre-wrap}
svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:currentColor}
@media(max-width:40rem){body{margin:1rem auto}table{font-size:.75rem}td,th{padding:.15rem .3rem}}
"""


def page(title: str, body: str) -> str:
    """The whole document. `title` is text, `body` HTML."""
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
    return f"<!doctype html><html lang=en>{head}<style>{_STYLE}</style><h1>{escape(title)}</h1>{body}</html>\n"


def wide(table: str) -> str:
    """A table that is scrolled by itself where the window is too narrow for it."""
    return f"<div class=wide>{table}</div>"

"""A small MCP server for tests, over stdio or on a port. A file beside its record, `.words`, changes a description.

On a port it wants the bearer token SHOP_TOKEN, where that is set.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("shop", log_level="ERROR")
record = Path(sys.argv[1])


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def find_order(order_id: str) -> dict[str, Any]:
    """Find an order"""
    return {"order_id": order_id, "status": "paid", "amount": 12}


@server.tool()
def cancel_order(order_id: str, context: Context[Any, Any]) -> dict[str, Any]:
    """Cancel an order"""
    meta = context.request_context.meta or {}
    with record.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"order_id": order_id, "effect": dict(meta).get("tandem/effect")}) + "\n")
    if order_id == "fails":
        raise ValueError("it failed half-way")
    if order_id == "dies":
        os._exit(1)
    if order_id == "sleeps":
        time.sleep(30)
    return {"cancelled": order_id}


async def guarded(scope: Any, receive: Any, send: Any) -> None:
    """The server's ASGI application behind its token."""
    token = os.environ.get("SHOP_TOKEN")
    wanted = f"Bearer {token}".encode() if token else None
    if scope["type"] == "http" and wanted and dict(scope["headers"]).get(b"authorization") != wanted:
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    await application(scope, receive, send)


if __name__ == "__main__":
    words = record.with_suffix(".words")
    if words.exists():
        server._tool_manager.get_tool("find_order").description = words.read_text(encoding="utf-8")  # type: ignore[union-attr]
    if len(sys.argv) > 2:
        application = server.streamable_http_app()
        uvicorn.run(guarded, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
    else:
        server.run("stdio")

"""Settings of the executor."""

from __future__ import annotations

from pydantic import Field, SecretStr

from tandem.settings import Settings

DAY_MS = 24 * 3_600_000


class ExecutorSettings(Settings):
    """What only the executor reads. Tools' addresses and secrets are environment variables that the pack names."""

    call_window_ms: int = Field(5_000, ge=1, description="from before the intent's append, how long a call may begin")
    grace_ms: int = Field(3_000, ge=0, description="after `call_by`, how long others wait before they act on an intent")
    calls_in_flight: int = Field(256, ge=1, description="tasks at work at once; a long run counts until it ends")
    call_attempts: int = Field(4, ge=1, le=20, description="calls of one task, where its tool's class permits more")
    backoff_ms: int = Field(250, ge=1, description="before the second call; doubled each time, up to 20 times as long")
    keep_ms: int = Field(8 * DAY_MS, ge=1, description="how long a result is kept; a tool's `once_per` may ask more")
    answer_bytes: int = Field(200_000, ge=1_000, le=500_000, description="a larger answer of a tool is unreadable")
    python_tools: tuple[str, ...] = Field((), description="Python modules whose functions packs may call (JSON list)")
    mcp_servers: dict[str, str] = Field(
        {}, description="MCP servers by the name that packs give them: an address or a command (JSON object)"
    )
    mcp_tokens: dict[str, SecretStr] = Field(
        {}, description="bearer tokens of those at an address, by the same names (JSON object)"
    )

# vLLM, with `tandem model serve` in an environment beside it:
#   docker build -f deploy/engine.Dockerfile -t REGISTRY/tandem-engine .
FROM vllm/vllm-openai:v0.32.0
COPY --from=ghcr.io/astral-sh/uv:0.13.8 /uv /usr/local/bin/uv
WORKDIR /app
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml uv.lock README.md ./
RUN uv sync --frozen --no-dev --no-install-project --python /usr/bin/python3
COPY tandem /app/tandem
ENV PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 TANDEM_VLLM_PYTHON=/usr/bin/python3 TANDEM_LLM_POOLS=/etc/tandem/pools.yaml
EXPOSE 8000
ENTRYPOINT ["/app/.venv/bin/python", "-m", "tandem", "model", "serve"]
CMD ["--help"]

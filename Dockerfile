# One image per service: docker build --build-arg SERVICE=router -t tandem/router .
FROM python:3.12-slim-bookworm AS build
COPY --from=ghcr.io/astral-sh/uv:0.13.8 /uv /usr/local/bin/uv
WORKDIR /app
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml uv.lock README.md ./
RUN uv sync --frozen --no-dev --extra mcp --no-install-project

FROM python:3.12-slim-bookworm
ARG SERVICE
RUN test -n "$SERVICE" || (echo "say which: --build-arg SERVICE=router" && false) \
    && useradd --uid 10001 --no-create-home tandem \
    && mkdir -p /app /var/lib/tandem && chown tandem /var/lib/tandem
WORKDIR /app
COPY --from=build /app/.venv /app/.venv
COPY tandem /app/tandem
COPY services/__init__.py /app/services/__init__.py
COPY services/${SERVICE} /app/services/${SERVICE}
ENV PATH=/app/.venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SERVICE=${SERVICE} TANDEM_BUS=kafka TANDEM_HOME=/var/lib/tandem HOME=/var/lib/tandem TANDEM_HTTP_PORT=8080
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
CMD ["sh", "-c", "exec python -m services.${SERVICE}"]

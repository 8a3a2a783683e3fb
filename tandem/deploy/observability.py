"""What the Prometheus operator reads: where the metrics are, and the rules of deploy/observability."""

from __future__ import annotations

from pathlib import Path

import yaml

from tandem.deploy.objects import HTTP, Object

RULES = Path(__file__).parents[2] / "deploy" / "observability"


def monitoring() -> list[Object]:
    """`honorLabels` off: a pod does not say of itself which pod it is."""
    monitor = {
        "selector": {"matchLabels": {"app.kubernetes.io/part-of": "tandem"}},
        "jobLabel": "app.kubernetes.io/part-of",
        "podMetricsEndpoints": [{"port": HTTP, "path": "/metrics", "interval": "15s"}],
    }
    rules = [_object("PrometheusRule", f"tandem-{name}", _read(name)) for name in ("rules", "alerts")]
    return [_object("PodMonitor", "tandem", monitor), *rules]


def _read(name: str) -> Object:
    found: Object = yaml.safe_load((RULES / f"{name}.yaml").read_text(encoding="utf-8"))
    return {"groups": found["groups"]}


def _object(kind: str, name: str, spec: Object) -> Object:
    named = {"name": name, "labels": {"app.kubernetes.io/part-of": "tandem"}}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": kind, "metadata": named, "spec": spec}

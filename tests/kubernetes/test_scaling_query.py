"""What KEDA asks Prometheus, asked of a real Prometheus that watches a real worker."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import httpx
from helm_chart import NAMESPACE, RELEASE, of_kind, render
from http_door import serving
from prometheus_server import Prometheus

LABELS = {"namespace": NAMESPACE, "app_kubernetes_io_instance": RELEASE}
"""What the PodMonitor gives the pods' series."""


def test_the_sum_is_of_all_requests_that_run_or_wait(tmp_path: Path) -> None:
    objects = render({"autoscaling": {"kind": "keda"}, "podMonitor": {"enabled": True}, "cache": {"kind": "emptyDir"}})
    assert of_kind(objects, "PodMonitor")["spec"]["podTargetLabels"] == ["app.kubernetes.io/instance"]
    query = of_kind(objects, "ScaledObject")["spec"]["triggers"][0]["metadata"]["query"]
    limits = {"MAX_CONCURRENT_REQUESTS": "1", "MAX_QUEUED_REQUESTS": "2", "ECHO_TTFT_MS": "60000", "DRAIN_TIMEOUT": "0"}
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    with serving(limits) as door:
        prometheus = Prometheus(tmp_path, int(door.url.rpartition(":")[2]), LABELS)
        try:
            prometheus.until(lambda: [each["value"][1] for each in prometheus.query(query)] == ["0"])
            with httpx.Client(timeout=60) as client:

                def ask() -> None:
                    with contextlib.suppress(httpx.HTTPError):  # It is left when the test has seen enough.
                        client.post(f"{door.url}/v1/chat/completions", json=body)

                clients = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
                for each in clients:
                    each.start()
                prometheus.until(lambda: [each["value"][1] for each in prometheus.query(query)] == ["3"])
        finally:
            prometheus.stop()

"""What Serve is told about a deployment follows from the settings; none of them is passed over in silence."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom import plugins
from engineroom.errors import SettingsError
from engineroom.settings import Environment
from engineroom_workers.ray.deployment import check_resources, deployment_options
from engineroom_workers.ray.options import DOORS, RayOptions
from engineroom_workers.ray.proxies import Proxies
from engineroom_workers.ray.run import carried, chosen_cluster


def options_of(cluster_gpus: float = 0, **settings: str) -> dict[str, Any]:
    setup = plugins.set_up(Environment.of({"ENGINE": "echo", **settings}), RayOptions.load, door=DOORS)
    return deployment_options(setup, cluster_gpus)


@pytest.mark.parametrize(
    ("settings", "gpus"),
    [
        ({"ENGINE": "echo"}, 0),
        ({"ENGINE": "transformers", "MODEL_NAME": "a/b"}, 1),
        ({"ENGINE": "transformers", "MODEL_NAME": "a/b", "TENSOR_PARALLEL_SIZE": "4"}, 4),
        ({"ENGINE": "vllm", "MODEL_NAME": "a/b", "TENSOR_PARALLEL_SIZE": "2", "PIPELINE_PARALLEL_SIZE": "2"}, 4),
        ({"ENGINE": "vllm", "MODEL_NAME": "a/b", "TENSOR_PARALLEL_SIZE": "2", "GPUS_PER_REPLICA": "0.5"}, 0.5),
    ],
)
def test_a_replica_gets_the_gpus_that_its_engine_is_told_to_use(settings: dict[str, str], gpus: float) -> None:
    assert options_of(8, **settings)["ray_actor_options"]["num_gpus"] == gpus


def test_without_gpus_in_the_cluster_a_replica_asks_for_none_unless_several_are_to_share_a_model() -> None:
    one = options_of(0, ENGINE="vllm", MODEL_NAME="a/b")
    two = options_of(0, ENGINE="vllm", MODEL_NAME="a/b", TENSOR_PARALLEL_SIZE="2")
    assert one["ray_actor_options"]["num_gpus"] == 0
    assert two["ray_actor_options"]["num_gpus"] == 2
    with pytest.raises(SettingsError, match="GPUS_PER_REPLICA: 1 replicas need 2 GPUs, and this machine has 0"):
        check_resources(two, 1, {"CPU": 2.0})
    with pytest.raises(SettingsError, match="CPUS_PER_REPLICA: 3 replicas need 3 CPUs, and this machine has 2"):
        check_resources(one, 3, {"CPU": 2.0})
    check_resources(one, 2, {"CPU": 2.0})


def test_replicas_scale_on_the_requests_that_an_engine_works_on_at_a_time() -> None:
    fixed = options_of()
    assert fixed["num_replicas"] == 1
    assert "autoscaling_config" not in fixed
    by_limit = options_of(REPLICAS="0", MAX_REPLICAS="4", MAX_CONCURRENT_REQUESTS="8", MAX_QUEUED_REQUESTS="2")
    assert by_limit["autoscaling_config"] == {"min_replicas": 0, "max_replicas": 4, "target_ongoing_requests": 6}
    assert by_limit["max_ongoing_requests"] >= 10, "the door's own queue refuses, in OpenAI's form, before Serve does"
    by_engine = options_of(MAX_REPLICAS="4", ENGINE="vllm", MODEL_NAME="a/b", MAX_NUM_SEQS="64")
    assert by_engine["autoscaling_config"]["target_ongoing_requests"] == 48


def test_serve_waits_for_longer_than_a_replica_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "7")
    assert options_of(DRAIN_TIMEOUT="100", STOP_TIMEOUT="20")["graceful_shutdown_timeout_s"] > 127


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"REPLICAS": "0"}, "REPLICAS.*: 0 replicas serve nothing: set MAX_REPLICAS"),
        ({"REPLICAS": "3", "MAX_REPLICAS": "2"}, "MAX_REPLICAS.*at least REPLICAS"),
        ({"GPUS_PER_REPLICA": "1.5"}, "GPUS_PER_REPLICA.*whole number"),
        ({"PORT_HEALTH": "8001"}, "PORT_HEALTH.*of no effect under Ray Serve"),
        ({"DOOR_PROCESSES": "2"}, "DOOR_PROCESSES.*of no effect under Ray Serve"),
        ({"CLIENT_TIMEOUT": "5"}, "CLIENT_TIMEOUT.*RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"),
        ({"UVICORN_SSL_CERTFILE": "cert.pem"}, "UVICORN_SSL_CERTFILE"),
        ({"REPLICA": "2"}, "REPLICA.*REPLICAS"),
    ],
)
def test_what_cannot_be_is_refused_by_name(settings: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        options_of(**settings)


def test_a_cluster_that_runs_already_is_given_no_lame_duck_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = {"ENGINE": "echo", "LAME_DUCK": "5"}
    chosen_cluster(plugins.set_up(Environment.of(settings), RayOptions.load, door=DOORS))
    assert "of no effect" not in caplog.text, "a cluster of its own is started with it"
    elsewhere = Environment.of({**settings, "RAY_ADDRESS": "auto"})
    chosen_cluster(plugins.set_up(elsewhere, RayOptions.load, door=DOORS))
    assert "LAME_DUCK=5" in caplog.text
    assert "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S" in caplog.text


def test_what_a_serve_that_runs_already_does_not_go_by_is_said(caplog: pytest.LogCaptureFixture) -> None:
    wanted = Proxies("0.0.0.0", 8000, 60)
    running = Proxies("0.0.0.0", 8000, 90)
    env = Environment.of({"ENGINE": "echo", "RAY_ADDRESS": "auto"})
    options = plugins.set_up(env, RayOptions.load, door=DOORS).door
    running.log_differences(wanted, options, env)
    assert not caplog.messages, "nobody has asked for anything else"
    env = Environment.of({"ENGINE": "echo", "RAY_ADDRESS": "auto", "UVICORN_TIMEOUT_KEEP_ALIVE": "60"})
    running.log_differences(running, options, env)
    assert not caplog.messages
    running.log_differences(wanted, options, env)
    assert "UVICORN_TIMEOUT_KEEP_ALIVE=60" in caplog.text
    Proxies("127.0.0.1", 8001, 60).log_differences(wanted, options, env)
    assert "listens on 127.0.0.1:8001: HOST=0.0.0.0 and PORT=8000 are of no effect" in caplog.text


def test_what_is_set_here_reaches_replicas_anywhere() -> None:
    env = Environment.of({"ENGINE": "echo", "ECHO_REPEAT": "3", "API_KEYS": "a:secret", "REPLICAS": "2", "HOST": "::1"})
    settings = carried(plugins.set_up(env, RayOptions.load, door=DOORS))
    assert settings == {
        "ENGINE": "echo",
        "ECHO_REPEAT": "3",
        "API_KEYS": "a:secret",
        "REPLICAS": "2",
        "HOST": "127.0.0.1",
    }


def test_at_other_doors_its_settings_are_said_to_be_of_no_effect() -> None:
    setup = plugins.set_up(
        Environment.of({"ENGINE": "echo", "REPLICAS": "2"}), lambda worker, env, names: None, door="http"
    )
    assert setup.names.idle == ("REPLICAS",)
    ours = plugins.set_up(
        Environment.of({"ENGINE": "echo", "REPLICAS": "2", "CACHE_TTL": "5", "MAX_CONCURRENCY": "3"}),
        RayOptions.load,
        door=DOORS,
    )
    assert ours.names.idle == ("MAX_CONCURRENCY",), "the HTTP door's settings count, those of the queue's do not"

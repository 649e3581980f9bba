"""The app's chart on Knative."""

from chart.kit import CHARTS, Object, Rendered, annotations, environment, render, template

CI = CHARTS / "pet" / "ci"
KNATIVE = CI / "knative.yaml"
API = "--api-versions=serving.knative.dev/v1/Service"
SCALING = "autoscaling.knative.dev/"


def service(rendered: Rendered, name: str) -> Object:
    """A Knative Service's spec.template."""
    found: Object = rendered.one("KnativeService", name)["spec"]["template"]
    return found


def config(rendered: Rendered) -> str:
    """The gateway's nginx.conf."""
    return str(rendered.one("ConfigMap", "gateway")["data"]["nginx.conf"])


def test_the_three_services_are_knatives_and_the_gateway_is_not() -> None:
    rendered = render("pet", KNATIVE)

    assert rendered.names("KnativeService") == ["auth", "feed", "voice"]
    assert rendered.names("Deployment") == rendered.names("Service") == ["gateway"]


def test_auto_follows_what_the_cluster_has() -> None:
    there = render("pet", None, "--set=knative.enabled=auto", API)

    assert there.names("KnativeService") == ["auth", "voice"]
    assert render("pet", None, "--set=knative.enabled=auto").of("KnativeService") == []
    assert render("pet", None, API).of("KnativeService") == [], "native whatever there is"


def test_a_sqlite_file_keeps_its_one_writer() -> None:
    rendered = render("pet", None, "--set=knative.enabled=true")

    assert rendered.one("Deployment", "feed")["spec"]["strategy"] == {"type": "Recreate"}
    assert rendered.one("WarmPool", "feed")["spec"]["targetRef"]["kind"] == "Deployment"


def test_voice_and_feed_ask_the_auth_of_knative() -> None:
    for name in ("voice", "feed"):
        env = environment(service(render("pet", KNATIVE), name))
        assert env["KOTATSU_AUTH_URL"] == "http://auth.here.svc.cluster.local"


def test_the_pools_set_a_floor_and_say_nothing_of_waking() -> None:
    spec = render("pet", KNATIVE).one("WarmPool", "voice")["spec"]

    assert spec["targetRef"] == {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "name": "voice",
    }
    assert spec["windows"][0]["replicas"] == 5
    assert spec["maxReplicas"] == 10
    assert not {"holdTimeout", "idleAfter", "service"} & set(spec)


def test_knative_scales_as_the_values_say_and_a_pool_alone_sets_min_scale() -> None:
    rendered = render("pet", KNATIVE)
    voice, feed = annotations(service(rendered, "voice")), annotations(service(rendered, "feed"))

    assert {k.removeprefix(SCALING): v for k, v in voice.items() if k.startswith(SCALING)} == {
        "max-scale": "10",
        "target": "1",
        "scale-to-zero-pod-retention-period": "30s",
    }
    assert feed[f"{SCALING}min-scale"] == "1", "no pool: it never sleeps"
    assert service(rendered, "voice")["spec"]["containerConcurrency"] == 1
    assert service(rendered, "auth")["spec"]["containerConcurrency"] == 0


def test_they_are_reached_through_the_gateway_alone() -> None:
    for obj in render("pet", KNATIVE).of("KnativeService"):
        assert obj["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"


def test_nothing_stands_there_that_knative_refuses() -> None:
    for obj in render("pet", KNATIVE).of("KnativeService"):
        spec = obj["spec"]["template"]["spec"]
        [container] = spec["containers"]
        assert not {"lifecycle", "stdin", "tty"} & set(container)
        assert not {"terminationGracePeriodSeconds", "nodeSelector", "affinity"} & set(spec)
        assert all("name" not in port for port in container["ports"])
        assert "volumes" not in spec
        for probe in ("readinessProbe", "livenessProbe"):
            assert "port" not in container[probe]["httpGet"]


def test_the_gateway_names_the_service_it_means() -> None:
    text = config(render("pet", KNATIVE))

    assert "proxy_set_header Host $service_host;" in text
    assert "set $service_host $host;" in text
    for name in ("auth", "feed", "voice"):
        host = f"{name}.here.svc.cluster.local"
        assert f"set $service_host {host};\n      proxy_pass http://{host};" in text.replace(
            "proxy_buffering off; # speech is sent sentence by sentence\n      ", ""
        )


def test_a_native_service_beside_them_keeps_the_clients_host() -> None:
    text = config(
        render("pet", None, "--set=knative.enabled=true,knative.clusterDomain=corp.local")
    )

    assert "proxy_pass http://feed;" in text
    assert "set $service_host feed" not in text
    assert "set $service_host voice.here.svc.corp.local;" in text


def test_a_native_gateway_knows_nothing_of_it() -> None:
    assert "service_host" not in config(render("pet"))


def test_knatives_own_route_stands_in_for_an_ingress_to_the_services() -> None:
    for what in ("ingress.enabled=true", "httpRoute.enabled=true,httpRoute.parentRefs[0].name=a"):
        done = template("pet", KNATIVE, f"--set=gateway.enabled=false,{what}")
        assert done.returncode != 0
        assert "leave gateway.enabled true" in done.stderr


def test_prometheus_knows_what_knative_calls_the_port() -> None:
    [monitor] = render("pet", KNATIVE, "--set=podMonitor.enabled=true").of("PodMonitor")

    assert [e["port"] for e in monitor["spec"]["podMetricsEndpoints"]] == ["http", "user-port"]

"""A web build of the app behind a real nginx with the chart's configuration."""

import json
from collections.abc import Iterator

import httpx
import pytest
from chart.kit import CHARTS, render
from chart.nginx import serving_gateway
from rows import each

DEMO = CHARTS / "pet" / "ci" / "demo.yaml"
INDEX, SCRIPT = "<!doctype html><base href=/app/>", "main();" * 1000
VOLUMES = {
    "a ConfigMap": {"configMap": {"name": "web"}},
    "a claim": {"persistentVolumeClaim": {"claimName": "web", "readOnly": True}},
    "an image": {"image": {"reference": "registry.example/web:1"}},
}


def volume(kind: str) -> str:
    return f"gateway.web.volume={json.dumps(VOLUMES[kind])}"


@each("kind", list(VOLUMES))
def test_any_volume_of_a_pod_is_mounted_where_it_is_served(kind: str) -> None:
    more = ("--set", "gateway.web.path=/bird/,gateway.web.subPath=build/web")
    gateway = render("pet", DEMO, "--set-json", volume(kind), *more).one("Deployment", "gateway")
    spec = gateway["spec"]["template"]["spec"]
    assert {"name": "web", **VOLUMES[kind]} in spec["volumes"]
    mount = {"name": "web", "mountPath": "/srv/web/bird", "readOnly": True, "subPath": "build/web"}
    assert mount in spec["containers"][0]["volumeMounts"]


def test_without_a_volume_there_is_no_such_path() -> None:
    rendered = render("pet", DEMO)
    assert "/srv/web" not in rendered.one("ConfigMap", "gateway")["data"]["nginx.conf"]
    names = [
        v["name"]
        for v in rendered.one("Deployment", "gateway")["spec"]["template"]["spec"]["volumes"]
    ]
    assert "web" not in names


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    web = {
        "app/index.html": INDEX.encode(),
        "app/main.dart.js": SCRIPT.encode(),
        "app/assets/.env": b"ENDPOINT=https://pet.example.com\n",
        "app/assets/fonts/a.otf": b"OTTO",
        "secret": b"not served",
    }
    with serving_gateway("127.0.0.1:1", "--set-json", volume("a ConfigMap"), web=web) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/app/", "/app/index.html", "/app/home", "/app/a/b?c=d"])
def test_a_page_of_the_app_is_its_index(base: str, path: str) -> None:
    answer = httpx.get(base + path)
    assert (answer.status_code, answer.text) == (200, INDEX)
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("main.dart.js", "text/javascript"),
        ("assets/fonts/a.otf", "font/otf"),
        ("assets/.env", "application/octet-stream"),
    ],
)
def test_a_file_is_served_with_its_type(base: str, path: str, kind: str) -> None:
    answer = httpx.get(f"{base}/app/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert "etag" in answer.headers


@pytest.mark.slow
def test_scripts_are_packed(base: str) -> None:
    answer = httpx.get(f"{base}/app/main.dart.js", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text == SCRIPT


@pytest.mark.slow
@pytest.mark.parametrize("path", ["missing.js", "assets/", "..%2fsecret", "assets/missing.png"])
def test_a_file_that_is_missing_is_no_page(base: str, path: str) -> None:
    answer = httpx.get(f"{base}/app/{path}")
    assert "not served" not in answer.text
    if "." in path:
        assert answer.status_code != 200


@pytest.mark.slow
def test_the_folder_without_its_slash_leads_there(base: str) -> None:
    answer = httpx.get(f"{base}/app")
    assert (answer.status_code, answer.headers["location"]) == (308, "/app/")


@pytest.mark.slow
def test_the_api_beside_it_stays_where_it_is(base: str) -> None:
    assert httpx.get(f"{base}/home").status_code == 502  # the service, which is away here

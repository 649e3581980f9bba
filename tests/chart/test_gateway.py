"""The gateway's nginx.conf, read as text; how it behaves is for the end-to-end tests."""

import re

from chart.kit import CHARTS, annotations, render
from rows import each

CI = CHARTS / "pet" / "ci"
DEMO = CI / "demo.yaml"


def _config(*arguments: str) -> str:
    rendered = render("pet", DEMO, *arguments)
    return str(rendered.one("ConfigMap", "gateway")["data"]["nginx.conf"])


def _location(config: str, path: str) -> str:
    found = re.search(rf"location {re.escape(path)} {{\n(.*?)\n    }}", config, re.DOTALL)
    assert found is not None, path
    return found[1]


@each(
    "path, service",
    [
        ("= /token", "auth"),
        ("= /authorize", "auth"),
        ("/authorize/", "auth"),
        ("= /voice", "voice"),
        ("= /voice/", "voice"),
        ("= /voices", "voice"),
        ("= /talk", "voice"),
        ("/", "feed"),
        ("/_stub/avatars/", "github-stub"),
    ],
)
def test_each_path_leads_to_its_service(path: str, service: str) -> None:
    assert f"proxy_pass http://{service};" in _location(_config(), path)


def test_a_service_that_is_off_has_no_path() -> None:
    config = _config("--set", "feed.enabled=false,voice.enabled=false")

    assert "http://voice" not in config
    assert "http://feed" not in config
    assert "location / { return 404; }" in config


def test_it_waits_longer_than_a_pool_holds() -> None:
    seconds = [int(n) for n in re.findall(r"proxy_(?:read|send)_timeout (\d+)s;", _config())]

    assert len(seconds) == 2
    assert min(seconds) >= 120


def test_a_request_is_never_sent_twice() -> None:
    assert "proxy_next_upstream off;" in _config()


def test_nobody_claims_to_be_somebody() -> None:
    for header in ("X-User-Id", "X-User-Login", "X-User-Avatar"):
        assert f'proxy_set_header {header} "";' in _config()


def test_metrics_and_probes_of_the_services_stay_inside() -> None:
    for path in ("/metrics", "/livez", "/readyz", "/healthz"):
        assert f"location = {path} {{ return 404; }}" in _config()


def test_anonymous_speech_is_limited_and_nothing_else() -> None:
    limits = "rate=5r/s,gateway.anonymousVoice.burst=7,gateway.anonymousVoice.perToken.burst=9"
    config = _config("--set", f"gateway.anonymousVoice.{limits}")

    assert "rate=5r/s;" in config
    for path in ("= /voice", "= /voice/", "= /talk"):
        assert "limit_req zone=voice burst=7 nodelay;" in _location(config, path)
        assert "limit_req zone=voice_token burst=9 nodelay;" in _location(config, path)
    assert config.count("limit_req zone") == 6
    assert "limit_req" not in _config("--set", "voice.anonymous=false")


def test_its_errors_are_problem_documents_for_browsers_too() -> None:
    config = _config()
    pages = re.findall(r"error_page (\d+)[ 0-9]* /_gateway/(\d+);", config)

    assert {code for code, _ in pages} >= {"404", "413", "429", "502", "503", "504"}
    for code, page in pages:
        body = _location(config, f"= /_gateway/{page}")
        assert "internal;" in body
        assert "application/problem+json" in body
        assert f'return {code} \'{{"type":"about:blank"' in body
        assert 'Access-Control-Allow-Origin "*"' in body
    own = _config("--set", "corsOrigins={https://pet.example.com}")
    assert 'Access-Control-Allow-Origin "*"' not in own
    assert '"https://pet.example.com" $http_origin;' in own


def test_new_configuration_makes_new_pods() -> None:
    def checksum(*arguments: str) -> str:
        gateway = render("pet", DEMO, *arguments).one("Deployment", "gateway")
        return annotations(gateway["spec"]["template"])["checksum/config"]

    assert checksum() == checksum("--set", "voice.pool.maxReplicas=3")
    assert checksum() != checksum("--set", "gateway.ipv6=true")

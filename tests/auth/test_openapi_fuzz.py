"""A property-based fuzzer makes requests from the OpenAPI description: nothing may be a 5xx."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import positive_data_acceptance, unsupported_method
from serving import serving

from kotatsu_auth.app import create_app
from kotatsu_auth.settings import AuthSettings
from kotatsu_github_stub.app import create_app as create_stub
from kotatsu_github_stub.settings import StubSettings

NAMES = {"github_client_id": "id", "github_client_secret": "secret"}
pytestmark = pytest.mark.slow
schema = schemathesis.openapi.from_dict(create_app(AuthSettings(**NAMES)).openapi())
# By intention: a well-formed code may still be worth nothing, and /authorize takes any method.
NOT_OURS = [positive_data_acceptance, unsupported_method]
fuzz = settings(max_examples=50, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(create_stub(StubSettings())) as github:
        values = {**NAMES, "github_api_url": github, "github_oauth_url": github}
        with serving(create_app(AuthSettings(**values))) as url:
            yield url


@schema.parametrize()
@fuzz
def test_every_answer_is_as_documented_and_no_5xx(case: Case, url: str) -> None:
    case.call_and_validate(base_url=url, excluded_checks=NOT_OURS)


@schema.parametrize()
@fuzz
def test_so_it_is_with_a_good_token(case: Case, url: str) -> None:
    headers = {"Authorization": "demo"}
    case.call_and_validate(base_url=url, headers=headers, excluded_checks=NOT_OURS)

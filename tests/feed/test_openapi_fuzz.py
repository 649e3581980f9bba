"""A property-based fuzzer makes requests from the OpenAPI description: nothing may be a 5xx."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
from feed.conftest import ByHost, authorize
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import positive_data_acceptance
from serving import serving

from kotatsu_feed.app import create_app
from kotatsu_feed.settings import FeedSettings
from kotatsu_github_stub.app import create_app as create_stub
from kotatsu_github_stub.settings import StubSettings
from kotatsu_github_stub.state import State
from kotatsu_github_stub.transport import StubTransport

pytestmark = pytest.mark.slow
schema = schemathesis.openapi.from_dict(create_app(FeedSettings()).openapi())
# By intention: not every string is an item or a name, and a pet may be out of food.
NOT_OURS = [positive_data_acceptance]
fuzz = settings(max_examples=30, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def fed(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("fuzz") / "pets.sqlite3"
    shutil.copy(migrated, path)
    state = State(contributions=1000)
    hosts: dict[str, httpx.AsyncBaseTransport] = {
        "auth": httpx.MockTransport(authorize),
        "github": StubTransport(create_stub(StubSettings(), state=state), state),
    }
    feed = FeedSettings(
        auth_url="http://auth", github_api_url="http://github", database_url=f"sqlite:///{path}"
    )
    with serving(create_app(feed, http=httpx.AsyncClient(transport=ByHost(hosts)))) as url:
        yield url


@schema.parametrize()
@fuzz
def test_every_answer_is_as_documented_and_no_5xx(case: Case, fed: str) -> None:
    case.call_and_validate(base_url=fed, excluded_checks=NOT_OURS)


@schema.parametrize()
@fuzz
def test_so_it_is_with_a_good_token(case: Case, fed: str) -> None:
    headers = {"Authorization": "demo"}
    case.call_and_validate(base_url=fed, headers=headers, excluded_checks=NOT_OURS)

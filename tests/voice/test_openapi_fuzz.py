"""A property-based fuzzer makes requests from the OpenAPI description: nothing may be a 5xx."""

import asyncio
from collections.abc import Iterator

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import negative_data_rejection, positive_data_acceptance
from serving import serving
from voice.callers import Auth
from voice.fakes import FakeEngine, hum

from kotatsu_voice.app import create_app
from kotatsu_voice.routes import FORM_TYPES
from kotatsu_voice.settings import VoiceSettings


def app() -> FastAPI:
    engine = FakeEngine(workers=4)
    engine.answer = lambda _: hum(0.1, edge=0)
    settings = VoiceSettings(voice_anonymous=True)
    return create_app(settings, engine=engine, identity=Auth())  # type: ignore[arg-type]


async def _schema() -> dict[str, object]:
    return app().openapi()


pytestmark = pytest.mark.slow
schema = schemathesis.openapi.from_dict(asyncio.run(_schema()))
# By intention: a string may still be nothing that can be spoken.
NOT_OURS = [positive_data_acceptance]
fuzz = settings(max_examples=100, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(app()) as url:
        yield url


@schema.parametrize()
@fuzz
def test_every_answer_is_as_documented_and_no_5xx(case: Case, url: str) -> None:
    # A form has no types: what the fuzzer wrote as a null or a list arrives as a word like another.
    untyped = [negative_data_rejection] if case.media_type in FORM_TYPES else []
    # Our token is there also where the fuzzer means to leave it out.
    ours = [negative_data_rejection] if case.path == "/talk" else untyped
    user = {"Authorization": "good"}
    case.call_and_validate(base_url=url, headers=user, excluded_checks=[*NOT_OURS, *ours])

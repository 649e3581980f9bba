"""The environment of auth."""

from typing import Annotated

from pydantic import AfterValidator, Field, HttpUrl, SecretStr

from kotatsu_common.settings import ServiceSettings


def _base_url(value: str) -> str:
    HttpUrl(value)
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]


class AuthSettings(ServiceSettings):
    """What auth needs to know. Durations are seconds."""

    github_client_id: str = Field(min_length=1, description="client id of the GitHub OAuth app")
    github_client_secret: SecretStr = Field(
        min_length=1, description="client secret of the GitHub OAuth app"
    )
    github_api_url: BaseUrl = Field(
        "https://api.github.com", description="GitHub's API; /user is asked who a token is"
    )
    github_oauth_url: BaseUrl = Field(
        "https://github.com", description="GitHub's site; /login/oauth/access_token takes codes"
    )
    github_timeout: float = Field(
        5.0, gt=0, le=60, description="longest that one question to GitHub may take"
    )
    github_own_tokens_only: bool = Field(
        False,
        description="refuse (403) tokens that were not issued to this OAuth app, such as personal"
        " access tokens and tokens that another site was given",
    )
    token_ttl: float = Field(
        60.0, ge=0, le=3600, description="how long a verified token is believed without asking"
    )
    token_refused_ttl: float = Field(
        10.0, ge=0, le=600, description="how long a refused token stays refused without asking"
    )
    token_stale: float = Field(
        3600.0,
        ge=0,
        le=86_400,
        description="how long after its last verification a token is good while GitHub is down",
    )
    token_cache_size: int = Field(
        10_000, ge=1, le=10_000_000, description="tokens remembered; the longest unused go first"
    )

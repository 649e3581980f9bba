"""The environment of feed."""

from typing import Annotated

from pydantic import AfterValidator, Field, HttpUrl, SecretStr, field_validator
from sqlalchemy.engine import URL

from kotatsu_common.settings import CommaSeparated, ServiceSettings
from kotatsu_feed.storage.urls import database_url


def _base_url(value: str) -> str:
    HttpUrl(value)
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url)]


class FeedSettings(ServiceSettings):
    """What feed needs to know. Durations are seconds."""

    auth_url: BaseUrl = Field(
        "http://auth:8080", description="where auth is; it is asked who each caller is"
    )
    github_api_url: BaseUrl = Field(
        "https://api.github.com", description="GitHub's API; /graphql is asked for contributions"
    )
    github_timeout: float = Field(
        5.0, gt=0, le=60, description="longest that one question to GitHub may take"
    )
    contributions_ttl: float = Field(
        30.0, ge=0, le=3600, description="how long a count of contributions is used without asking"
    )
    contributions_stale: float = Field(
        3600.0,
        ge=0,
        le=86_400,
        description="how old a count of the same day may be while GitHub can't be asked",
    )
    github_client_id: str = Field(
        "", description="client id of the GitHub OAuth app, for the web page's login; empty: none"
    )
    github_oauth_url: BaseUrl = Field(
        "https://github.com", description="GitHub's site, where the web page's visitors log in"
    )
    demo_token: str = Field(
        "", description="a token that the web page offers to everybody; only for demos"
    )
    avatar_origins: CommaSeparated = Field(
        ("https://avatars.githubusercontent.com",),
        description="other origins that the web page may show pictures from, comma separated",
    )
    database_url: SecretStr = Field(
        SecretStr("sqlite:///kotatsu-feed.sqlite3"),
        description="sqlite:///path/to/file (one replica) or"
        " postgresql://user:password@host:5432/database (any number);"
        " default sqlite:///kotatsu-feed.sqlite3",
    )
    database_pool: int = Field(5, ge=1, le=200, description="connections to the database")
    database_timeout: float = Field(
        10.0, gt=0, le=300, description="longest wait for a connection, a lock or a statement"
    )
    database_wait: float = Field(
        30.0, ge=0, le=600, description="how long the start waits for a database that is not there"
    )

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr) -> SecretStr:
        database_url(value.get_secret_value())
        return value

    @property
    def database(self) -> URL:
        """The URL with its async driver."""
        return database_url(self.database_url.get_secret_value())

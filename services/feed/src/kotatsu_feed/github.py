"""What feed asks GitHub: how much a user has contributed to repositories that contain Dart."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from kotatsu_common.github import GitHub, garbage

LANGUAGE = "Dart"
QUERY = """\
query ($login: String!, $from: DateTime!, $to: DateTime!) {
  user(login: $login) {
    contributionsCollection(from: $from, to: $to) {
      commitContributionsByRepository(maxRepositories: 100) {
        repository { ...languages }
        contributions { totalCount }
      }
      issueContributionsByRepository(maxRepositories: 100) {
        repository { ...languages }
        contributions { totalCount }
      }
      pullRequestContributionsByRepository(maxRepositories: 100) {
        repository { ...languages }
        contributions { totalCount }
      }
    }
  }
}
fragment languages on Repository {
  languages(first: 10) { nodes { name } }
}
"""


class TokenRevokedError(Exception):
    """GitHub no longer accepts the token that auth had verified."""


class GitHubRefusedError(Exception):
    """GitHub answered, but not the question; the text says what it said, for people."""


class _Language(BaseModel):
    name: str


class _Languages(BaseModel):
    nodes: list[_Language | None] | None = None


class _Repository(BaseModel):
    languages: _Languages | None = None

    def contains(self, language: str) -> bool:
        nodes = self.languages.nodes if self.languages else None
        return any(node is not None and node.name == language for node in nodes or ())


class _Total(BaseModel):
    total_count: Annotated[int, Field(alias="totalCount", ge=0, le=1_000_000)]


class _ByRepository(BaseModel):
    repository: _Repository
    contributions: _Total


_Repositories = Annotated[list[_ByRepository], Field(max_length=100)]
"""As many as `QUERY` asks for."""


class _Collection(BaseModel):
    commits: Annotated[_Repositories, Field(alias="commitContributionsByRepository")]
    issues: Annotated[_Repositories, Field(alias="issueContributionsByRepository")]
    pulls: Annotated[_Repositories, Field(alias="pullRequestContributionsByRepository")]

    def count(self, language: str) -> int:
        everything: Iterable[_ByRepository] = (*self.commits, *self.issues, *self.pulls)
        return sum(
            r.contributions.total_count for r in everything if r.repository.contains(language)
        )


class _User(BaseModel):
    collection: Annotated[_Collection, Field(alias="contributionsCollection")]


class _Data(BaseModel):
    user: _User | None


class _Error(BaseModel):
    type: str = ""


class _Answer(BaseModel):
    data: _Data | None = None
    errors: list[_Error] | None = None


class GitHubContributions:
    """Counts contributions."""

    def __init__(self, github: GitHub, api_url: str) -> None:
        self._github = github
        self._url = f"{api_url}/graphql"

    async def count(self, login: str, token: str, first: datetime, last: datetime) -> int:
        """Contributions of `login` from `first` to `last` to repositories that contain Dart.

        GitHubUnavailableError, GitHubRefusedError or TokenRevokedError say why there is no count.
        """
        variables = {"login": login, "from": first.isoformat(), "to": last.isoformat()}
        answer = await self._github.ask(
            "graphql",
            "POST",
            self._url,
            headers={"Authorization": f"Bearer {token}", "User-Agent": "kotatsu-feed"},
            json={"query": QUERY, "variables": variables},
        )
        if answer.status_code == 401:
            raise TokenRevokedError
        if answer.status_code != 200:
            raise GitHubRefusedError(f"GitHub answered {answer.status_code}.")
        try:
            body = _Answer.model_validate_json(answer.content)
        except ValidationError:
            raise garbage("GitHub's answer about contributions makes no sense.") from None
        kinds = {error.type for error in body.errors or ()}
        if kinds & {"RATE_LIMIT", "RATE_LIMITED"}:  # GitHub has used both words
            raise self._github.rate_limited(answer)
        if "NOT_FOUND" in kinds or (body.data and body.data.user is None and not kinds):
            raise GitHubRefusedError(f"GitHub has no user {login}; log in again if it was renamed.")
        if body.errors:
            raise GitHubRefusedError("GitHub answered the query with errors.")
        if body.data is None or body.data.user is None:
            raise garbage("GitHub's answer about contributions is empty.")
        return body.data.user.collection.count(LANGUAGE)

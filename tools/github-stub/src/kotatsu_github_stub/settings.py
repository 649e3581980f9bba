"""The environment of the stub."""

from pydantic import Field

from kotatsu_common.settings import ServiceSettings


class StubSettings(ServiceSettings):
    """What the stub takes."""

    stub_contributions: int = Field(
        12, ge=0, le=1_000_000, description="today's contributions of everybody not told otherwise"
    )
    stub_public_url: str = Field(
        "", description="where browsers reach the stub, for avatars; empty: where it was asked"
    )

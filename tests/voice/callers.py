"""An auth that knows one token."""

from kotatsu_common.identity import Identity
from kotatsu_common.problems import Problem


class Auth:
    """Knows one token."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    async def verify(self, authorization: str | None) -> Identity:
        self.asked.append(authorization)
        if authorization != "good":
            raise Problem(401, "Not signed in", headers={"WWW-Authenticate": "Bearer"})
        return Identity(1, "bird", "")

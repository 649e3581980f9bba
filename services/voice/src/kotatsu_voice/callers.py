"""Who may call: anybody who likes for speech, if the settings say so; known users for the rest."""

from typing import TYPE_CHECKING, Any

from fastapi import Depends

from kotatsu_common.identity import Identity, identity_dependency
from kotatsu_voice.settings import VoiceSettings

if TYPE_CHECKING:
    import httpx

    from kotatsu_common.identity_client import IdentityClient


class Callers:
    """Asks auth who a caller is.

    httpx takes as long to import as Open JTalk needs for a sentence. So without `http`, which is
    there if other callers need it, it is imported at the first question.
    """

    def __init__(
        self,
        settings: VoiceSettings,
        identity: "IdentityClient | None",
        http: "httpx.AsyncClient | None",
    ) -> None:
        self._url = settings.auth_url
        self._identity = identity
        self._http = http
        self._ours: httpx.AsyncClient | None = None

    @property
    def guards(self) -> list[Any]:
        """The dependencies of a route for known users; none if there is no auth to ask."""
        if self._identity is None and self._url is None:
            return []
        return [Depends(identity_dependency(self.verify))]

    async def verify(self, authorization: str | None) -> Identity:
        """As IdentityClient.verify."""
        if self._identity is None:
            from kotatsu_common import fetch
            from kotatsu_common.identity_client import IdentityClient

            if self._http is None:
                self._http = self._ours = fetch.client()
            self._identity = IdentityClient(self._http, str(self._url))
        return await self._identity.verify(authorization)

    async def close(self) -> None:
        """Close what was opened here."""
        if self._ours is not None:
            await self._ours.aclose()

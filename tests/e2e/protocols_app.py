"""A workload of the end-to-end tests that tells nothing of itself: no metric, several protocols.

HTTP/1 and WebSocket on 8080 (uvicorn), HTTP/2 with prior knowledge on 8081, which also answers a
gRPC call as an echo does.
"""

import asyncio
from typing import Any

import uvicorn
from h2server import H2Server


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Echo: a POST's body, and each message of a WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def main() -> None:
    """Serve both ports until SIGTERM."""
    http2 = await asyncio.start_server(H2Server().serve, "0.0.0.0", 8081)
    config = uvicorn.Config(app, host="0.0.0.0", port=8080, lifespan="off", ws="wsproto")
    await uvicorn.Server(config).serve()
    http2.close()


asyncio.run(main())

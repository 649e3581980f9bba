"""How many questions a service has under way at a time; the rest wait for their turn here.

httpx looks at every connection for every request that waits, whenever one of them changes. So a
thousand waiting in its own pool cost a minute of CPU, and waiting here they cost nothing.
"""

import asyncio

AT_ONCE = 32


def turns() -> asyncio.Semaphore:
    """To be held during an exchange."""
    return asyncio.Semaphore(AT_ONCE)

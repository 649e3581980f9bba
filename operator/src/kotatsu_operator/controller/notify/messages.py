"""The body of a notification: a CloudEvent, or JSON as Slack's incoming webhooks accept it."""

import json
from collections.abc import Mapping

from kotatsu_operator.controller.notify.receivers import Format
from kotatsu_operator.core.report.notices import Notice
from kotatsu_operator.kube.objects import Key

TYPE = "dev.kotatsu.warmpool."
"""The type of a CloudEvent is this and the reason."""

Message = tuple[Mapping[str, str], bytes]
"""Headers and body."""


def message(form: Format, key: Key, notice: Notice) -> Message:
    """The request for one notice of the pool `key`."""
    return _slack(key, notice) if form is Format.SLACK else _cloudevent(key, notice)


def _cloudevent(key: Key, notice: Notice) -> Message:
    # Only a receiver of CloudEvents pays for loading the library.
    from cloudevents.core.bindings.http import to_structured_event
    from cloudevents.core.v1.event import CloudEvent

    namespace, name = key
    source = f"/apis/kotatsu.dev/v1alpha1/namespaces/{namespace}/warmpools/{name}"
    event = CloudEvent(
        {
            "id": notice.id,
            "source": source,
            "type": TYPE + notice.reason,
            "subject": f"{namespace}/{name}",
            "time": notice.at,
            "datacontenttype": "application/json",
        },
        {
            "namespace": namespace,
            "name": name,
            "reason": notice.reason,
            "message": notice.message,
            "severity": "warning" if notice.warning else "normal",
        },
    )
    made = to_structured_event(event)
    return made.headers, made.body


def _slack(key: Key, notice: Notice) -> Message:
    mark = ":warning: " if notice.warning else ""
    text = f"{mark}*{key[0]}/{key[1]}* {notice.reason}: {_escaped(notice.message)}"
    body = json.dumps({"text": text}, ensure_ascii=False)
    return {"Content-Type": "application/json; charset=utf-8"}, body.encode()


def _escaped(text: str) -> str:
    """Text without Slack's control characters: a message must not mention a channel or a link."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, entity)
    return text

"""Small iCalendar files for tests."""


def event(uid: str = "a@x", title: str = "Final pitch", **properties: str) -> str:
    """A VEVENT; names have `_` for `-`, and `__` begins the parameters: `DTSTART__TZID=UTC`."""
    lines = ["BEGIN:VEVENT", f"UID:{uid}", f"SUMMARY:{title}"]
    for name, value in properties.items():
        head, _, parameters = name.partition("__")
        lines.append(f"{head.replace('_', '-')}{parameters and ';'}{parameters}:{value}")
    return "\r\n".join([*lines, "END:VEVENT"])


def calendar(*parts: str, name: str = "") -> bytes:
    """A file with these components."""
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//tests//EN"]
    head += [f"X-WR-CALNAME:{name}"] if name else []
    return "\r\n".join([*head, *parts, "END:VCALENDAR", ""]).encode()


CUSTOM_ZONE = """\
BEGIN:VTIMEZONE
TZID:Customized Time Zone
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE"""
"""Central Europe, under a name that only this file knows."""

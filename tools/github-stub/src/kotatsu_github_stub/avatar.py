"""The avatar of a user: our own drawing of a round bird, in a color of the user's own."""

_BIRD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64">
<rect width="64" height="64" rx="12" fill="hsl({hue} 60% 92%)"/>
<path d="M12 44q-8-4-9-12 8 5 12 2z" fill="hsl({hue} 55% 38%)"/>
<circle cx="33" cy="35" r="20" fill="hsl({hue} 65% 55%)"/>
<path d="M24 44a10 10 0 0 0 19 2q-8 4-19-2z" fill="hsl({hue} 70% 85%)"/>
<circle cx="40" cy="28" r="5" fill="#fff"/>
<circle cx="41.500" cy="28.500" r="2.500" fill="#222"/>
<path d="M49 30l11 4-11 4z" fill="#f2a03d"/>
</svg>
"""


def draw(user_id: int) -> str:
    """The SVG."""
    return _BIRD.format(hue=user_id % 360)

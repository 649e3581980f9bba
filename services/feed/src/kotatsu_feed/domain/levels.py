"""Experience and levels.

The step from level n to n + 1 costs 10 * 2**n experience, so level n begins at the sum of the
steps before it: 10 * (2**n - 2), that is 0, 20, 60, 140, 300, …
"""

EXPERIENCE_PER_FEEDING = 10


def threshold(level: int) -> int:
    """Total experience at which `level` begins; level 1 begins at 0."""
    if level < 1:
        raise ValueError(f"levels begin at 1, not {level}")
    return 10 * ((1 << level) - 2)


def level_for(experience: int) -> int:
    """The level that a total of `experience` has reached: the last one whose threshold is met."""
    if experience < 0:
        raise ValueError(f"experience is never negative, not {experience}")
    # 10 * (2**n - 2) <= e  <=>  2**n <= e / 10 + 2; the left side is whole, so e // 10 will do.
    return (experience // 10 + 2).bit_length() - 1

"""Every target of fuzzing, by name."""

from fuzz import amounts, connections, doors, objects, outside, pools, speech, times
from fuzz.kit import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (connections, pools, objects, times, amounts, speech, outside, doors)
    for target in module.TARGETS
}

"""Every target of fuzzing, by name."""

from fuzz import amounts, connections, pools, speech, times
from fuzz.kit import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (connections, pools, times, amounts, speech)
    for target in module.TARGETS
}

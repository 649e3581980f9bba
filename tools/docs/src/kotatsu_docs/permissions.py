"""docs/reference/permissions.md: what each program may do, from the templates of the chart.

In a template each rule stands on one line, with the reason above it, and each Role after a
template comment that says what it is for. tests/chart/test_rbac_page.py compares the page with the
chart as Helm renders it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from .markdown import line, row

PARTS = "kotatsu-targets-0 … kotatsu-targets-f"
"""How the page names the ConfigMaps of a cluster's record."""

_TOKEN = re.compile(
    r'define "kotatsu\.rules\.(?P<rules>[\w-]+)"'
    r"|\{\{- /\*(?P<about>.*?)\*/"
    r"|^kind: ClusterRole\nmetadata:\n  name: (?P<name>[^\n]+)$"
    r"|^ *# (?P<why>[^\n]+)\n *(?P<rule>- \{apiGroups:[^\n]+\})$",
    re.DOTALL | re.MULTILINE,
)
_POLICY = re.compile(
    r"^(?P<what>(?:# [^\n]+\n)+)apiVersion: admissionregistration\.k8s\.io/v1\n"
    r'kind: ValidatingAdmissionPolicy\n[^\n]+"what" "(?P<name>\w+)"',
    re.MULTILINE,
)


_INTRODUCTION = """\
The chart has these Roles and no other. Those for all namespaces are ClusterRoles, whose names end
with the release's namespace. One more, `kotatsu-serves-unlabeled-namespaces`, has no rules: it
keeps a second release from serving the same namespaces. The app (`charts/pet`) has no permissions,
and its pods get no token.

For each kind of the value `targets`, operator, activators and the Job before an uninstall may also
read its objects, and read and set their scale.

RBAC cannot limit fields, values or owners. Admission policies do that, unless
`admissionPolicies.enabled` is false; their names end with the release's namespace. They grant
nothing. [SECURITY.md](../../SECURITY.md) names the test of each promise, and says what tokens reach
without the policies.

| policy | limit |
|---|---|
"""


@dataclass
class Role:
    """A Role of the chart."""

    name: str
    """Without the release's namespace, which names of ClusterRoles end with."""
    about: str
    rules: list[tuple[Mapping[str, Any], str]] = field(default_factory=list)
    """Each rule, and why it is there."""


def body(roles: Sequence[Role], policies: str) -> str:
    """The page below its head; `policies` is the template of the admission policies."""
    lines = [_INTRODUCTION.rstrip(), *(row(*limit) for limit in limits(policies)), ""]
    for role in roles:
        lines += [f"## {role.name}", "", role.about, "", "| what | verbs | why |", "|---|---|---|"]
        lines += [row(*cells(rule), why) for rule, why in role.rules]
        lines.append("")
    return "\n".join(lines)


def limits(template: str) -> Iterator[tuple[str, str]]:
    """Each admission policy with the comment above it."""
    for found in _POLICY.finditer(template):
        yield f"kotatsu-{found['name']}", line(found["what"].replace("# ", ""))


def roles(template: str) -> list[Role]:
    """The Roles of a template, in its order."""
    found: list[Role] = []
    about, name = "", ""
    template = template.replace('{{ include "kotatsu.recordParts" . }}', f"[{PARTS}]")
    template = template.replace('{{ include "kotatsu.fullname" . }}', "kotatsu")
    for token in _TOKEN.finditer(template):
        if token["about"]:
            about = line(token["about"])
        elif token["rules"] or token["name"]:
            name = f"kotatsu-{token['rules']}" if token["rules"] else _plain(token["name"])
        elif token["rule"]:
            if not found or found[-1].name != name:
                found.append(Role(name, about))
            [rule] = yaml.safe_load(token["rule"])
            found[-1].rules.append((rule, token["why"]))
    return found


def cells(rule: Mapping[str, Any]) -> tuple[str, str]:
    """What a rule is about, and its verbs."""
    names = "".join(f" `{name}`" for name in rule.get("resourceNames", ()))
    [group] = rule["apiGroups"]
    whats = [what.partition("/") for what in rule["resources"]]
    what = ", ".join(w + (f".{group}" if group else "") + slash + sub for w, slash, sub in whats)
    return f"{what}{names}", ", ".join(rule["verbs"])


def _plain(name: str) -> str:
    """The name in a template's ClusterRole, of which the parts are filled in by Helm."""
    return name.replace("{{ $fullname }}", "kotatsu").replace("-{{ .Release.Namespace }}", "")

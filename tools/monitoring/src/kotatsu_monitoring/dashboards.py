"""The four dashboards: the day of a demo, the way of a wake, the voice, and money."""

from collections.abc import Mapping

from grafana_foundation_sdk.builders.dashboard import Dashboard

from kotatsu_operator.core.pool.memory import Phase

from .panels import NAMESPACE, POOL, Panel, Query, build

_PHASES = {
    Phase.ASLEEP: "blue",
    Phase.WARMING: "orange",
    Phase.WARM: "red",
    Phase.DRAINING: "yellow",
    Phase.SLEEPING: "light-blue",
    Phase.PARKED: "purple",
}


def _phase_number() -> str:
    """Which phase a pool is in, as its place among `_PHASES`, counted from 1."""
    terms = (
        f'kotatsu_pool_phase{{{POOL},phase="{phase.value}"}} * {number}'
        for number, phase in enumerate(_PHASES, start=1)
    )
    return f"sum by (namespace, name) ({' or '.join(terms)})"


def _quantile(share: str, metric: str, by: str = "namespace, name", chosen: str = POOL) -> str:
    rate = f"rate({metric}_bucket{{{chosen}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by ({by}{', ' * bool(by)}le) ({rate}))"


def _spread(metric: str, by: str = "namespace, name", chosen: str = POOL) -> list[Query]:
    """Median and 95th percentile; the last label of `by` names the line."""
    legend = f"{{{{{by.rpartition(', ')[2]}}}}}"
    return [
        Query(_quantile("0.5", metric, by, chosen), f"{legend} p50"),
        Query(_quantile("0.95", metric, by, chosen), f"{legend} p95"),
    ]


def _count(metric: str, lasting: str, by: str = "namespace, name") -> str:
    """How often something has happened; whole numbers, though Prometheus guesses at the edges."""
    return f"round(sum by ({by}) (increase({metric}{{{POOL}}}[{lasting}])))"


def _rate(metric: str, by: str = "") -> str:
    """How fast a counter of a service grows, all its pods together."""
    rate = f"rate({metric}{{{NAMESPACE}}}[$__rate_interval])"
    return f"sum by ({by}) ({rate})" if by else f"sum({rate})"


_HITS, _MISSES = "kotatsu_voice_cache_hits_total", "kotatsu_voice_cache_misses_total"

DEMO_DAY = (
    Panel(
        "Ready pods",
        "Pods that are Ready, and those wanted: a gap while a window is open is a cold demo.",
        "short",
        [
            Query(f"kotatsu_pool_replicas_ready{{{POOL}}}", "{{name}} ready"),
            Query(f"kotatsu_pool_replicas_desired{{{POOL}}}", "{{name}} wanted"),
        ],
        "steps",
    ),
    Panel(
        "Phase",
        "What each pool is doing: asleep, warming up, warm, leaving, or falling asleep.",
        "short",
        [Query(_phase_number())],
        "states",
        states={phase.value: color for phase, color in _PHASES.items()},
    ),
    Panel(
        "Next transition",
        "Seconds until the schedule does the next thing: starts pods, opens or closes a window.",
        "s",
        [Query(f"kotatsu_pool_next_transition_timestamp_seconds{{{POOL}}} - time()")],
        "number",
    ),
    Panel(
        "How early the last window was Ready",
        "Time between all pods being Ready and the window opening. Below 0 it opened cold.",
        "s",
        [Query(f"kotatsu_pool_window_ready_early_seconds{{{POOL}}}")],
        "number",
    ),
    Panel(
        "Openings by outcome",
        "Windows that were Ready before they opened (ready), that were not (cold), and those that "
        "became so afterwards (late), in the last day.",
        "short",
        [
            Query(
                _count("kotatsu_pool_windows_total", "1d", "namespace, name, outcome"),
                "{{name}} {{outcome}}",
            )
        ],
        "number",
    ),
    Panel(
        "Pre-warm lead",
        "How long before a window opens its pods start: learned from earlier warm-ups.",
        "s",
        [Query(f"kotatsu_pool_prewarm_lead_seconds{{{POOL}}}")],
    ),
    Panel(
        "Requests in flight and held",
        "What keeps a pool awake outside of its windows.",
        "short",
        [Query(f"kotatsu_pool_requests{{{POOL}}}")],
    ),
    Panel(
        "Cost of an hour, now",
        "Price of the pods there are at this moment, at the prices given.",
        "short",
        [Query(f"kotatsu_cost_rate_per_hour{{{POOL}}}", "{{name}} {{currency}}")],
        "number",
    ),
)

WAKE_PATH = (
    Panel(
        "Wakes",
        "How often a request raised a pool from 0 in the last hour, and how many of these wakes "
        "got a pod. Where the second is smaller, look at the pods.",
        "short",
        [
            Query(_count("kotatsu_activator_wakes_total", "1h"), "{{name}} begun"),
            Query(
                _count("kotatsu_activator_wake_duration_seconds_count", "1h"),
                "{{name}} with a pod",
            ),
        ],
        "number",
    ),
    Panel(
        "Time to wake",
        "From raising the scale until a pod answers.",
        "s",
        _spread("kotatsu_activator_wake_duration_seconds"),
    ),
    Panel(
        "Wait of a held connection",
        "How long connections were held until they had a pod.",
        "s",
        _spread("kotatsu_activator_wait_seconds"),
    ),
    Panel(
        "Held and passed on",
        "Connections that wait for a pod, and those that an activator has joined to one.",
        "short",
        [
            Query(f"sum by (namespace, name) (kotatsu_activator_held{{{POOL}}})", "{{name}} held"),
            Query(
                f"sum by (namespace, name) (kotatsu_activator_spliced{{{POOL}}})",
                "{{name}} passed on",
            ),
        ],
    ),
    Panel(
        "Refused",
        "Connections turned away: too many waited (full), no pod came (timeout), or no money left "
        "(budget).",
        "short",
        [
            Query(
                _count(
                    "kotatsu_activator_refused_total",
                    "$__rate_interval",
                    "namespace, name, reason",
                ),
                "{{name}} {{reason}}",
            )
        ],
    ),
    Panel(
        "Bytes passed on",
        "Bytes through the activators: none while pools are warm, unless their route is Activator.",
        "Bps",
        [
            Query(
                "sum by (namespace, name, direction) "
                f"(rate(kotatsu_activator_splice_bytes_total{{{POOL}}}[$__rate_interval]))",
                "{{name}} {{direction}}",
            )
        ],
    ),
    Panel(
        "Decisions",
        "How often the operator decides, and how long it takes until a decision is carried out.",
        "short",
        [
            Query(
                f"sum(rate(kotatsu_decisions_total{{{POOL}}}[$__rate_interval]))",
                "decisions per second",
            ),
            Query(_quantile("0.99", "kotatsu_decision_seconds", "", ""), "p99 in seconds"),
        ],
    ),
    Panel(
        "API errors",
        "Calls that the Kubernetes API refused or did not answer, by operator and activators.",
        "short",
        [
            Query(
                "sum by (reason) (rate(kotatsu_api_errors_total[$__rate_interval]))",
                "{{reason}}",
            )
        ],
    ),
)

VOICE = (
    Panel(
        "Time to speak a piece of text",
        "Time in the speech engine, without waiting for a turn.",
        "s",
        _spread("kotatsu_voice_synthesis_seconds", "engine", NAMESPACE),
    ),
    Panel(
        "Real-time factor",
        "Seconds of work for a second of speech: at 1 the engine is as slow as its listener.",
        "short",
        [
            Query(
                _rate("kotatsu_voice_synthesis_seconds_sum", "engine")
                + " / "
                + _rate("kotatsu_voice_audio_seconds_total", "engine"),
                "{{engine}}",
            )
        ],
    ),
    Panel(
        "Speech made",
        "Seconds of speech made in each second.",
        "short",
        [Query(_rate("kotatsu_voice_audio_seconds_total", "engine"), "{{engine}}")],
    ),
    Panel(
        "Characters spoken",
        "Characters of text handed to the engine, by second.",
        "short",
        [Query(_rate("kotatsu_voice_characters_total"), "characters")],
    ),
    Panel(
        "Cache",
        "Answers that were in memory already, as a share of all.",
        "percentunit",
        [Query(f"{_rate(_HITS)} / ({_rate(_HITS)} + {_rate(_MISSES)})", "hits")],
    ),
    Panel(
        "Texts that wait or are being spoken",
        "Different texts in the queue of each pod.",
        "short",
        [Query(f"sum by (pod) (kotatsu_voice_queue_length{{{NAMESPACE}}})", "{{pod}}")],
    ),
    Panel(
        "Refused and failed",
        "Texts refused (by reason), and pieces that the engine failed to speak.",
        "short",
        [
            Query(_rate("kotatsu_voice_refused_total", "reason"), "refused {{reason}}"),
            Query(_rate("kotatsu_voice_engine_errors_total", "engine"), "failed {{engine}}"),
        ],
    ),
    Panel(
        "What GitHub leaves us",
        "Requests left until GitHub resets the limit of the token last used.",
        "short",
        [
            Query(f"min(kotatsu_auth_github_rate_limit_remaining{{{NAMESPACE}}})", "auth"),
            Query(f"min(kotatsu_feed_github_rate_limit_remaining{{{NAMESPACE}}})", "feed"),
        ],
    ),
    Panel(
        "Tokens checked",
        "How auth found its answers: from memory, from GitHub, or not at all.",
        "short",
        [Query(_rate("kotatsu_auth_verifications_total", "outcome"), "{{outcome}}")],
    ),
    Panel(
        "Feedings",
        "Meals of the birds, by what became of them.",
        "short",
        [Query(_rate("kotatsu_feed_feedings_total", "outcome"), "{{outcome}}")],
    ),
)

MONEY = (
    Panel(
        "Spent in this period",
        "What the pods have cost since the period began, at the prices given.",
        "short",
        [Query(f"kotatsu_cost_accrued{{{POOL}}}", "{{name}} {{currency}}")],
        "number",
    ),
    Panel(
        "Share of the budget",
        "Spent, as a share of the limit. At 1 the pool's policy decides what still runs.",
        "percentunit",
        [
            Query(
                f"kotatsu_cost_accrued{{{POOL}}} / kotatsu_cost_limit{{{POOL}}}", "{{name}} spent"
            ),
            Query(
                f"kotatsu_cost_forecast{{{POOL}}} / kotatsu_cost_limit{{{POOL}}}",
                "{{name}} forecast",
            ),
        ],
    ),
    Panel(
        "Cost of an hour",
        "Price of the pods there are. It should be 0 outside of windows and requests.",
        "short",
        [Query(f"kotatsu_cost_rate_per_hour{{{POOL}}}", "{{name}} {{currency}}")],
    ),
    Panel(
        "Spent and forecast",
        "The forecast adds what the schedule will do in the rest of the period.",
        "short",
        [
            Query(f"kotatsu_cost_accrued{{{POOL}}}", "{{name}} spent"),
            Query(f"kotatsu_cost_forecast{{{POOL}}}", "{{name}} forecast"),
        ],
    ),
    Panel(
        "Warm without a request",
        "How long pods have been up since the last request: warmth that nobody used.",
        "s",
        [
            Query(
                f"(time() - kotatsu_pool_last_request_timestamp_seconds{{{POOL}}})"
                f" and on (namespace, name) kotatsu_pool_replicas_ready{{{POOL}}} > 0"
            )
        ],
    ),
)


def dashboards() -> Mapping[str, Dashboard]:
    """All dashboards, by the name of their file."""
    return {
        "demo-day": build(
            "Kotatsu / Demo day",
            "kotatsu-demo-day",
            "Is it warm, for how long, what does it cost, is anything late?",
            DEMO_DAY,
        ),
        "wake-path": build(
            "Kotatsu / Wake path",
            "kotatsu-wake-path",
            "What happens to a request that finds its pool asleep.",
            WAKE_PATH,
        ),
        "voice": build(
            "Kotatsu / Voice", "kotatsu-voice", "The pet's services: speech, logins, meals.", VOICE
        ),
        "money": build(
            "Kotatsu / Money",
            "kotatsu-money",
            "What warmth costs, and what will it have cost.",
            MONEY,
        ),
    }

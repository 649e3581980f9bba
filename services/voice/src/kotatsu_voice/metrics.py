"""What the voice tells Prometheus besides its traffic."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)


class VoiceMetrics:
    """Counters of one app, in its own registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queue = Gauge(
            "kotatsu_voice_queue_length",
            "Distinct texts that wait for synthesis or are being synthesized",
            registry=registry,
        )
        self.synthesis = Histogram(
            "kotatsu_voice_synthesis_seconds",
            "Time of an engine for one piece of text, without the wait before",
            ("engine",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.audio = Counter(
            "kotatsu_voice_audio_seconds",
            "Seconds of generated audio",
            ("engine",),
            registry=registry,
        )
        self.characters = Counter(
            "kotatsu_voice_characters",
            "Characters of synthesized text",
            registry=registry,
        )
        self.engine_errors = Counter(
            "kotatsu_voice_engine_errors",
            "Pieces of text that an engine failed to synthesize",
            ("engine",),
            registry=registry,
        )
        self.engine_losses = Counter(
            "kotatsu_voice_engine_losses",
            "Times an engine hung, broke or could not be reached, and was started again",
            ("engine",),
            registry=registry,
        )
        self.refused = Counter(
            "kotatsu_voice_refused",
            "Rejected requests by reason",
            ("reason",),
            registry=registry,
        )
        self.cache_hits = Counter(
            "kotatsu_voice_cache_hits", "Answers from the cache", registry=registry
        )
        self.cache_misses = Counter(
            "kotatsu_voice_cache_misses", "Answers that were not in the cache", registry=registry
        )
        self.cache_bytes = Gauge(
            "kotatsu_voice_cache_bytes", "Bytes of audio in the cache", registry=registry
        )
        self.shared = Counter(
            "kotatsu_voice_shared_requests",
            "Requests that joined the synthesis of an identical one",
            registry=registry,
        )
        self.ready = Gauge(
            "kotatsu_voice_ready_timestamp_seconds",
            "Unix time when the voice was first ready; 0 before",
            registry=registry,
        )
        self.talks = Counter(
            "kotatsu_voice_talks",
            "Answers of POST /talk by source and reason",
            ("source", "reason"),
            registry=registry,
        )

    def begin(self, engine: str) -> None:
        """Let what may go wrong be 0 from the start, so that rates work."""
        self.engine_errors.labels(engine)
        self.engine_losses.labels(engine)
        for reason in ("text", "busy"):
            self.refused.labels(reason)

"""What the voice tells Prometheus besides its traffic."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)


class VoiceMetrics:
    """Counters of one app, in its own registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queue = Gauge(
            "kotatsu_voice_queue_length",
            "Different texts that wait for speech or are being spoken",
            registry=registry,
        )
        self.synthesis = Histogram(
            "kotatsu_voice_synthesis_seconds",
            "Time an engine took for one piece of text, without waiting for its turn",
            ("engine",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.audio = Counter(
            "kotatsu_voice_audio_seconds",
            "Seconds of sound that the engine made",
            ("engine",),
            registry=registry,
        )
        self.characters = Counter(
            "kotatsu_voice_characters",
            "Characters of text that the engine spoke",
            registry=registry,
        )
        self.engine_errors = Counter(
            "kotatsu_voice_engine_errors",
            "Pieces of text that the engine failed to speak",
            ("engine",),
            registry=registry,
        )
        self.refused = Counter(
            "kotatsu_voice_refused",
            "Requests refused, by reason",
            ("reason",),
            registry=registry,
        )
        self.cache_hits = Counter(
            "kotatsu_voice_cache_hits", "Answers from the cache", registry=registry
        )
        self.cache_misses = Counter(
            "kotatsu_voice_cache_misses", "Answers that had to be made", registry=registry
        )
        self.cache_bytes = Gauge(
            "kotatsu_voice_cache_bytes", "Bytes of speech kept", registry=registry
        )
        self.shared = Counter(
            "kotatsu_voice_shared_requests",
            "Requests that joined the synthesis of an identical one",
            registry=registry,
        )
        self.ready = Gauge(
            "kotatsu_voice_ready_timestamp_seconds",
            "Unix time when the voice first spoke; 0 before",
            registry=registry,
        )
        self.talks = Counter(
            "kotatsu_voice_talks",
            "Lines of POST /talk, by where they came from and why",
            ("source", "reason"),
            registry=registry,
        )

    def begin(self, engine: str) -> None:
        """Let what may go wrong be 0 from the start, so that rates work."""
        self.engine_errors.labels(engine)
        for reason in ("text", "busy"):
            self.refused.labels(reason)

"""Numbers for Prometheus, under TGI's names where it has such a number."""

from collections import Counter
from dataclasses import dataclass, field

from .engine import Load


_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096)


class Histogram:
    """Counts of values below a few bounds, as Prometheus reads them.

    Args:
        bounds (`tuple[float, ...]`): upper bounds of the buckets.
    """

    def __init__(self, bounds: tuple[float, ...]):
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Counts a value."""
        index = 0
        for bound in self.bounds:
            if value <= bound:
                break
            index += 1
        self.counts[index] += 1
        self.total += value

    def lines(self, name: str) -> list[str]:
        """Prometheus' text format."""
        lines, running = [f"# TYPE {name} histogram"], 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            running += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {running}')
        return [*lines, f"{name}_sum {self.total}", f"{name}_count {running}"]


@dataclass
class ServerMetrics:
    """What happened since the start."""

    requests: int = 0
    successes: int = 0
    failures: Counter = field(default_factory=Counter)
    histograms: dict[str, Histogram] = field(
        default_factory=lambda: {
            "tgi_request_duration": Histogram(_SECONDS),
            "tgi_request_queue_duration": Histogram(_SECONDS),
            "tgi_request_inference_duration": Histogram(_SECONDS),
            "tgi_request_mean_time_per_token_duration": Histogram(_SECONDS),
            "tgi_request_input_length": Histogram(_TOKENS),
            "tgi_request_generated_tokens": Histogram(_TOKENS),
        }
    )

    def succeeded(self, duration: float, queue: float, inference: float, prompt: int, generated: int) -> None:
        """Counts a response; times in seconds, lengths in tokens."""
        self.successes += 1
        values = (duration, queue, inference, inference / max(generated, 1), prompt, generated)
        for histogram, value in zip(self.histograms.values(), values, strict=True):
            histogram.add(value)

    def text(self, load: Load) -> str:
        """All numbers in Prometheus' text format."""
        lines = [
            "# TYPE tgi_request_count counter",
            f"tgi_request_count {self.requests}",
            "# TYPE tgi_request_success counter",
            f"tgi_request_success {self.successes}",
            "# TYPE tgi_request_failure counter",
            *(f'tgi_request_failure{{err="{kind}"}} {count}' for kind, count in sorted(self.failures.items())),
            "# TYPE tgi_queue_size gauge",
            f"tgi_queue_size {load.waiting}",
            "# TYPE tgi_batch_current_size gauge",
            f"tgi_batch_current_size {load.running}",
            "# TYPE hfdistill_prefix_bytes gauge",
            f"hfdistill_prefix_bytes {load.prefix_bytes}",
            "# TYPE hfdistill_prefix_tokens counter",
            f"hfdistill_prefix_tokens {load.prefix_tokens}",
        ]
        for name, histogram in self.histograms.items():
            lines += histogram.lines(name)
        return "\n".join(lines) + "\n"

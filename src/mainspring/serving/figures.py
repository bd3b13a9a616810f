"""What a server tells of its endpoints at `/metrics`, beside its requests: versions, threads, features, logs, labels."""

from __future__ import annotations

from collections.abc import Mapping

from mainspring.serving.live import Live
from mainspring.web.metrics import counter, gauge


def figures(lives: Mapping[str, Live], loading: Mapping[str, float]) -> list[str]:
    """The lines of the endpoints that answer, by name; those that are `loading` what they moved to have done so for seconds."""
    return [*_models(lives), *_loading(loading), *_features(lives), *_predictions(lives), *_labels(lives)]


def _models(lives: Mapping[str, Live]) -> list[str]:
    versions = [
        ({"endpoint": name, "model": live.version.name, "version": str(live.version.number)}, 1)
        for name, live in lives.items()
    ]
    lines = gauge("mainspring_model_info", "The model version that answers.", versions)
    given_up = [({"endpoint": name}, live.batcher.hanging.given_up) for name, live in lives.items()]
    lines += counter(
        "mainspring_stuck_total",
        "Threads left in a model that hung, at a batch, at a part of an answer or at its end.",
        given_up,
    )
    replaced = [({"endpoint": name}, live.restarts) for name, live in lives.items() if live.restarts is not None]
    if replaced:
        about = "Processes of a model that died, hung or leaked, and were replaced."
        lines += counter("mainspring_model_processes_replaced_total", about, replaced)
    return lines


def _loading(loading: Mapping[str, float]) -> list[str]:
    about = "For how long the version that an endpoint moved to has been loading."
    seconds = [({"endpoint": name}, round(passed_s, 1)) for name, passed_s in sorted(loading.items())]
    return gauge("mainspring_model_loading_seconds", about, seconds) if seconds else []


def _features(lives: Mapping[str, Live]) -> list[str]:
    lines: list[str] = []
    counts = {name: sorted(live.features.items()) for name, live in sorted(lives.items())}
    read = [({"endpoint": name, "status": status}, n) for name, counted in counts.items() for status, n in counted]
    if read:
        lines += counter("mainspring_features_total", "Features of answered predictions, by status.", read)
    logs = {name: live.predictor.log for name, live in lives.items()}
    dropped = [({"endpoint": name}, log.dropped) for name, log in logs.items() if log is not None]
    if dropped:
        lines += counter(
            "mainspring_vectors_dropped_total", "Sampled vectors that are too large for their log.", dropped
        )
    return lines


def _predictions(lives: Mapping[str, Live]) -> list[str]:
    logged = {name: live.log.counts for name, live in lives.items() if live.log is not None}
    lines: list[str] = []
    for kind, about in (
        ("logged", "Predictions in the log."),
        ("unlogged", "Predictions that were answered though the log could not take them."),
    ):
        counts = [({"endpoint": name}, counted[name, kind]) for name, counted in logged.items()]
        lines += counter(f"mainspring_predictions_{kind}_total", about, counts) if counts else []
    return lines


def _labels(lives: Mapping[str, Live]) -> list[str]:
    counts = [
        ({"endpoint": name, "outcome": kind}, n) for name, live in lives.items() for kind, n in live.intake.counts
    ]
    return counter("mainspring_labels_total", "Labels that came here, by what became of them.", counts)

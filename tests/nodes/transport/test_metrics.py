"""What a node counts, read as Prometheus reads it."""

from __future__ import annotations

import subprocess
import sys

from prometheus_client.parser import text_string_to_metric_families

from nodes.metrics import MAX_LABELS, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_counters_add_up_by_code() -> None:
    metrics = Metrics()
    metrics.rounds_in.add("answered")
    metrics.rounds_in.add("answered", 2)
    metrics.rounds_in.add("not_trusted")
    metrics.items_admitted.add(number=5)
    found = samples(metrics)
    assert found["tocsin_rounds_in_total", (("outcome", "answered"),)] == 3
    assert found["tocsin_rounds_in_total", (("outcome", "not_trusted"),)] == 1
    assert found["tocsin_items_admitted_total", ()] == 5
    assert metrics.rounds_in.total() == 4


def test_a_gauge_shows_what_was_last_said() -> None:
    metrics = Metrics()
    metrics.queued.set(7)
    metrics.queued.set(3)
    assert samples(metrics)["tocsin_queued", ()] == 3


def test_a_histogram_counts_each_measurement_once_and_its_bounds_are_inclusive() -> None:
    metrics = Metrics()
    for value in (1, 2, 3, 5_000):
        metrics.commit_entries.observe(value)
    found = samples(metrics)
    assert found["tocsin_commit_entries_bucket", (("le", "1"),)] == 1
    assert found["tocsin_commit_entries_bucket", (("le", "2"),)] == 2
    assert found["tocsin_commit_entries_bucket", (("le", "4"),)] == 3
    assert found["tocsin_commit_entries_bucket", (("le", "+Inf"),)] == 4
    assert found["tocsin_commit_entries_count", ()] == 4
    assert found["tocsin_commit_entries_sum", ()] == 5_006


def test_a_peer_that_invents_codes_cannot_fill_the_memory() -> None:
    metrics = Metrics()
    for number in range(10_000):
        metrics.items_deferred.add(f"code_{number}")
    metrics.items_deferred.add("<script>\n")
    assert len(metrics.items_deferred.values) <= MAX_LABELS + 1
    assert metrics.items_deferred.total() == 10_001
    assert samples(metrics)["tocsin_items_deferred_total", (("code", "other"),)] > 9_000


def test_a_code_that_is_no_word_is_counted_as_other() -> None:
    metrics = Metrics()
    for code in ("", "Lucia Perez", "CO-PONAL/2026/000017", "é", "a" * 41, "x\n"):
        metrics.items_deferred.add(code)
    assert metrics.items_deferred.values == {"other": 6}


def test_two_nodes_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.posts.add("done")
    assert other.posts.total() == 0
    assert ("tocsin_posts_total", (("outcome", "done"),)) not in samples(other)


def test_the_process_s_memory_is_shown() -> None:
    assert samples(Metrics())["process_resident_memory_bytes", ()] > 1_000_000


def test_counting_does_not_load_prometheus() -> None:
    program = (
        "import sys; from nodes.metrics import Metrics; Metrics().posts.add('done'); "
        "sys.exit('prometheus_client' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

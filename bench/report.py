"""The figures as a table, and as the one JSON object of the last line."""

from statistics import median

import msgspec

from bench.load import Outcome

Figures = dict[str, list[Outcome]]
"""What was measured, by operation, algorithm and concurrency; one outcome per round."""


def composed(echo_rate: float, sql_rate: float) -> float:
    """What one who only passes on could reach: one call after the other through both."""
    return 1 / (1 / echo_rate + 1 / sql_rate)


def report(floor: dict[str, float], figures: Figures, memory: float) -> None:
    """Print the table, and the one JSON object of the last line."""
    print(f"\n{'raw nats-py echo':28} {floor['echo']:9,.0f}/s")
    for op in ("list", "create"):
        limit = composed(floor["echo"], floor[f"{op}_sql"])
        bare, name = floor[f"{op}_sql"], f"bare SQL of a {op}"
        print(f"{name:28} {bare:9,.0f}/s   composed limit {limit:9,.0f}/s")
    print(f"\n{'':28} {'rate':>11} {'p50':>9} {'p99':>9} {'ratio':>6}")
    rates = {name: median(each.rate for each in rows) for name, rows in figures.items()}
    for name, rows in sorted(figures.items()):
        p50, p99 = median(each.p50 for each in rows), median(each.p99 for each in rows)
        ratio = rates[name] / composed(floor["echo"], floor[f"{name.split()[0]}_sql"])
        print(f"{name:28} {rates[name]:9,.0f}/s {p50:6.2f} ms {p99:6.2f} ms {ratio:6.2f}")
    for op in ("list", "create"):
        gain = rates[f"{op} two responders 64"] / rates[f"{op} HS256 64"]
        print(f"{op}: two responders answer {gain:.2f} times what one does")
    summary: dict[str, float] = {"echo_per_s": round(floor["echo"])}
    for op in ("list", "create"):
        name, sql = f"{op} HS256 64", floor[f"{op}_sql"]
        summary[f"{op}_sql_per_s"] = round(sql)
        summary[f"{op}_per_s"] = round(rates[name])
        summary[f"{op}_ratio"] = round(rates[name] / composed(floor["echo"], sql), 3)
        summary[f"{op}_p99_ms"] = round(median(each.p99 for each in figures[name]), 2)
    summary["responder_rss_mb"] = round(memory, 1)
    print(msgspec.json.encode({"bench_rpc": summary}).decode())

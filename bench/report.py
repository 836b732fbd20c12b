"""The figures as a table, and as the one JSON object of the last line."""

from statistics import median

import msgspec

from bench.load import LoadResult

RequestFigures = dict[str, list[LoadResult]]
"""What was measured, by operation, algorithm and concurrency; one outcome per round."""


def composed(floor: dict[str, float], op: str, callers: int) -> float:
    """Return the limit of a service that only passes on: a call through the bus, then the SQL.

    One caller is held against a bus and a database that have one caller too.
    """
    alone = "_1" if callers == 1 else ""
    return 1 / (1 / floor[f"echo{alone}"] + 1 / floor[f"{op}_sql{alone}"])


def report(floor: dict[str, float], figures: RequestFigures, memory: float) -> None:
    """Print the table, and the one JSON object of the last line."""
    print(f"\n{'raw nats-py echo':28} {floor['echo']:9,.0f}/s, {floor['echo_1']:,.0f}/s alone")
    for op in ("list", "create"):
        for callers in (64, 1):
            limit, alone = composed(floor, op, callers), "_1" if callers == 1 else ""
            bare, name = floor[f"{op}_sql{alone}"], f"bare SQL of a {op}, {callers} at once"
            print(f"{name:28} {bare:9,.0f}/s   composed limit {limit:9,.0f}/s")
    print(f"\n{'':28} {'rate':>11} {'p50':>9} {'p99':>9} {'ratio':>6}")
    rates = {name: median(each.rate for each in rows) for name, rows in figures.items()}
    ratios = {}
    for name, rows in sorted(figures.items()):
        p50, p99 = median(each.p50 for each in rows), median(each.p99 for each in rows)
        op, *_, at_once = name.split()
        ratios[name] = rates[name] / composed(floor, op, int(at_once))
        print(f"{name:28} {rates[name]:9,.0f}/s {p50:6.2f} ms {p99:6.2f} ms {ratios[name]:6.2f}")
    for op in ("list", "create"):
        gain = rates[f"{op} two responders 64"] / rates[f"{op} HS256 64"]
        print(f"{op}: two responders answer {gain:.2f} times what one does")
    summary: dict[str, float] = {"echo_per_s": round(floor["echo"])}
    for op in ("list", "create"):
        name = f"{op} HS256 64"
        summary[f"{op}_sql_per_s"] = round(floor[f"{op}_sql"])
        summary[f"{op}_per_s"] = round(rates[name])
        summary[f"{op}_ratio"] = round(ratios[name], 3)
        summary[f"{op}_p99_ms"] = round(median(each.p99 for each in figures[name]), 2)
        summary[f"{op}_1"] = round(ratios[f"{op} HS256 1"], 3)
        for callers in (16, 64):
            summary[f"{op}_{callers}"] = round(ratios[f"{op} HS256 {callers}"], 3)
            summary[f"{op}_eddsa_{callers}"] = round(ratios[f"{op} EdDSA {callers}"], 3)
    summary["responder_rss_mb"] = round(memory, 1)
    print(msgspec.json.encode({"bench_rpc": summary}).decode())

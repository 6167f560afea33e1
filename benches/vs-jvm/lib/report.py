"""The figures as a table and as a chart."""
import statistics


def table(results):
    out = ["| case | figure | JVM min / median / max | Aqueduct min / median / max | ratio of medians |", "|---|---|---|---|---|"]
    def span(values):
        form = lambda x: f"{x:,.0f}" if x >= 100 else f"{x:.2f}"
        return " / ".join(form(f(values)) for f in (min, statistics.median, max))
    for case, kinds in results.items():
        for figure in kinds["jvm"][0]:
            jvm, ours = ([row[figure] for row in kinds[kind]] for kind in ("jvm", "aqueduct"))
            a, b = statistics.median(jvm), statistics.median(ours)
            ratio = (b / a if figure.endswith(("/s", "%")) else a / b) if a and b else float("nan")
            out.append(f"| {case} | {figure} | {span(jvm)} | {span(ours)} | {ratio:.1f} times better |")
    return "\n".join(out)


def chart(results):
    """Bars of records per CPU second, JVM = 1."""
    rows = []
    for case, kinds in results.items():
        key = "CPU s per million" if "CPU s per million" in kinds["jvm"][0] else "start to REST ms"
        jvm, ours = (statistics.median(row[key] for row in kinds[kind]) for kind in ("jvm", "aqueduct"))
        rows.append((f"{case} ({'per CPU second' if key.startswith('CPU') else 'start'})", jvm / ours if ours else 0))
    widest = max(ratio for _, ratio in rows)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{60 + 40 * len(rows)}" font-family="sans-serif" font-size="14">',
             '<text x="10" y="24">Aqueduct beside JVM Connect, times better (JVM = 1)</text>']
    for index, (name, ratio) in enumerate(rows):
        y = 50 + 40 * index
        parts.append(f'<text x="10" y="{y + 14}">{name}</text><rect x="230" y="{y}" width="{400 * ratio / widest:.0f}" height="20" fill="#2a7"/>'
                     f'<text x="{236 + 400 * ratio / widest:.0f}" y="{y + 15}">{ratio:.1f}</text>')
    return "\n".join(parts + ["</svg>"])

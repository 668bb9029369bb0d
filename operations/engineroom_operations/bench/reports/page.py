"""A report as one page of HTML that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..figures import Report, Stage
from .files import stage_table
from .svg import Axis, Series, bar_plot, line_plot, stacked_plot
from .words import FIGURES, HEADINGS, counting, durations, headline, number, plain, success

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --card: #f6f7f9; --ink: #1c2128; --dim: #5b6470; --rule: #d8dde3;
  --c0: #2f6fde; --c1: #c2570c; --c2: #1a8754; --c3: #8a4fd0; --bad: #b3261e; --good: #1a7f4b; }
@media (prefers-color-scheme: dark) { :root { --back: #12161c; --card: #1b2129; --ink: #e6eaf0; --dim: #9aa5b3;
  --rule: #343d49; --c0: #79a8ff; --c1: #ffa25c; --c2: #58d19a; --c3: #c59bff; --bad: #ff8a80; --good: #6fdca5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1380px; padding: 20px 16px 48px; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.35rem; margin: 0 0 4px; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 32px 0 10px; }
h3 { font-size: .95rem; margin: 0 0 8px; } p { margin: 4px 0; } .dim { color: var(--dim); font-size: .87rem; }
.cards { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 12px 14px; min-width: 0; }
.tiles { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); margin-top: 16px; }
.tile b { display: block; font-size: 1.45rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.advice { border-left: 4px solid var(--c0); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--dim); font-weight: 600; white-space: normal; vertical-align: bottom; }
td.text { text-align: left; white-space: normal; min-width: 14em; }
.yes { color: var(--good); } .no { color: var(--bad); }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--dim); font: 11px system-ui, sans-serif; }
svg .t { font-weight: 600; } svg .n { fill: var(--ink); } .g { stroke: var(--rule); stroke-width: 1; }
.l { fill: none; stroke-width: 2; } .l.s0 { stroke: var(--c0); } .l.s1 { stroke: var(--c1); }
.l.s2 { stroke: var(--c2); } .l.s3 { stroke: var(--c3); }
.p.s0, .b.s0 { fill: var(--c0); } .p.s1, .b.s1 { fill: var(--c1); } .p.s2, .b.s2 { fill: var(--c2); }
.p.s3, .b.s3 { fill: var(--c3); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: .82rem; color: var(--dim); padding-left: 8px; }
.k i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 5px; }
i.s0 { background: var(--c0); } i.s1 { background: var(--c1); } i.s2 { background: var(--c2); }
i.s3 { background: var(--c3); }
"""


def to_html(report: Report) -> str:
    body = [
        f"<h1>{escape(headline(report))}</h1>",
        f'<p class="dim">{escape(_about(report))}</p>',
        _tiles(report),
        _verdict(report),
        "<h2>Stages</h2>",
        _stages(report),
        "<h2>Throughput and latency</h2>",
        f'<div class="cards">{"".join(_across(report))}</div>',
    ]
    for stage in report.stages:
        body.append(f"<h2>{escape(stage.label)}</h2>")
        body.append(f'<div class="cards">{"".join(_within(stage))}</div>')
        body.append(_details(stage))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(headline(report))}</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _about(report: Report) -> str:
    parameters = "; ".join(f"{name} {value}" for name, value in report.parameters.items())
    parts = [f"{report.started_at}, {report.seconds:.0f} s, engineroom {report.engineroom}.", f"{parameters}."]
    if report.objectives.given:
        parts.append(f"Objectives: {report.objectives}.")
    if report.interrupted:
        parts.append("Stopped before its end.")
    return " ".join([*parts, counting(report), *(plain(note) for note in report.notes)])


def _tiles(report: Report) -> str:
    if not report.stages:
        return "<p>No stage was measured.</p>"
    best = next((stage for stage in report.stages if stage.label == report.best), None)
    best = best or max(report.stages, key=lambda stage: stage.tokens_out_per_s)
    requests = sum(stage.requests for stage in report.stages)
    failed = sum(stage.failed for stage in report.stages)
    tiles = [
        ("load, the best" if report.best else "load with the most tokens/s", best.label),
        ("tokens/s out there", number(best.tokens_out_per_s)),
        ("TTFT there, P50, ms", number(best.ttft.median)),
        ("TTFT there, P99, ms", number(best.ttft.p99)),
        ("requests in all", f"{requests:,}"),
        ("failed", f"{failed:,}"),
    ]
    cells = "".join(
        f'<div class="card tile"><b>{escape(value)}</b><span class="dim">{escape(name)}</span></div>'
        for name, value in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _verdict(report: Report) -> str:
    if not report.verdict:
        return ""
    cards = "".join(
        f'<div class="card advice"><p><b>{escape(plain(advice.limit))}</b></p>'
        f"<p>Try: {escape(plain(advice.remedy))}</p></div>"
        for advice in report.verdict
    )
    return f'<h2>What limits, and what to try</h2><div class="cards">{cards}</div>'


def _stages(report: Report) -> str:
    heading, rows = stage_table(report)
    return _table(heading, [[_cell(cell) for cell in row] for row in rows])


def _cell(text: str) -> str:
    style = f' class="{text}"' if text in ("yes", "no") else ""
    return f"<td{style}>{escape(text)}</td>"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """rows: their cells as HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heading)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _card(title: str, picture: str) -> str:
    return f'<div class="card"><h3>{escape(title)}</h3>{picture}</div>' if picture else ""


def _across(report: Report) -> list[str]:
    """Plots over all stages."""
    stages = [stage for stage in report.stages if stage.succeeded]
    labels = [stage.label for stage in stages]
    marks = [(float(position), _brief(label)) for position, label in enumerate(labels)]

    def percentiles(name: str) -> list[Series]:
        return [
            Series(title, [(position, getattr(getattr(stage, name), figure)) for position, stage in enumerate(stages)])
            for title, figure in (("P50", "median"), ("P95", "p95"), ("P99", "p99"))
        ]

    answers = [(stage.tokens_out_per_s, stage.end_to_end.median / 1000) for stage in stages]
    load = Axis("load", marks)
    kinds = sorted({kind for stage in report.stages for kind in stage.failures})
    columns = [
        (_brief(stage.label), [stage.failures[kind].count if kind in stage.failures else 0 for kind in kinds])
        for stage in report.stages
    ]
    return [
        _card(
            "Throughput against latency",
            line_plot([Series("answer, P50", answers, labels)], Axis("tokens/s out"), Axis("whole answer, P50, s")),
        ),
        _card("Time to first token", line_plot(percentiles("ttft"), load, Axis("ms"))),
        _card("Time per output token", line_plot(percentiles("token"), load, Axis("ms"))),
        _card("Inter-token latency", line_plot(percentiles("inter_token"), load, Axis("ms"))),
        _card("Requests that failed", stacked_plot(columns, kinds, Axis("load"), Axis("requests"))),
    ]


def _within(stage: Stage) -> list[str]:
    """Plots of one stage over its time, and its distribution of first tokens."""
    time = Axis("seconds into the stage")
    slices = [one for one in stage.slices if one.requests or one.tokens_per_s]

    def over_time(*figures: tuple[str, str]) -> list[Series]:
        return [
            Series(title, [(one.at_s + one.seconds / 2, getattr(one, name)) for one in slices if getattr(one, name)])
            for title, name in figures
        ]

    ttft = over_time(("P50", "ttft_p50_ms"), ("P99", "ttft_p99_ms"))
    gaps = over_time(("P50", "inter_token_p50_ms"), ("P99", "inter_token_p99_ms"))
    bars = [(bar.from_ms, bar.to_ms, float(bar.count)) for bar in stage.ttft_bars]
    failed = [(one.at_s + one.seconds / 2, float(one.failed)) for one in slices] if stage.failed else []
    return [
        _card("Time to first token: distribution", bar_plot(bars, Axis("ms, logarithmic"), Axis("requests"))),
        _card("Time to first token over time", line_plot(ttft, time, Axis("ms"))),
        _card("Inter-token latency over time", line_plot(gaps, time, Axis("ms"))),
        _card("Tokens out over time", line_plot(over_time(("tokens/s", "tokens_per_s")), time, Axis("tokens/s"))),
        _card("Failures over time", line_plot([Series("failed", failed)], time, Axis("requests"))),
    ]


def _details(stage: Stage) -> str:
    rows = [
        [f"<td>{escape(name)}</td>", *(f"<td>{number(getattr(one, figure))}</td>" for figure in FIGURES)]
        for name, one in durations(stage)
    ]
    parts = [_table(["ms", *HEADINGS], rows)] if rows else []
    if stage.failures:
        failures = [
            [
                f'<td class="no">{escape(kind)}</td>',
                f"<td>{one.count:,}</td>",
                f'<td class="text">{escape(one.example)}</td>',
                f'<td class="text">{escape(one.remedy)}</td>',
            ]
            for kind, one in stage.failures.items()
        ]
        parts.append(_table(["failed", "requests", "reason", "what to do"], failures))
    own = (
        f"{stage.requests:,} requests in {stage.seconds:.1f} s ({stage.arrivals}), {success(stage)} succeeded; "
        f"{stage.tokens_in:,} tokens in, {stage.tokens_out:,} out. This program used {100 * stage.own_cpu_share:.0f} % "
        f"of a core and {stage.own_memory_mb:.0f} MB."
    )
    parts.append(f'<p class="dim">{escape(own)}</p>')
    return "".join(parts)


def _brief(label: str) -> str:
    """A stage's label for an axis: the number of streams alone."""
    return label.removesuffix(" streams").removesuffix(" stream")

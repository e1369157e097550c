"""The chart of the README: time to Ready as bars, grouped by server kind and number of nodes. Plain SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.forming import Formed

_NAMES = {"redis62": "Redis 6.2", "redis70": "Redis 7.0", "valkey91": "Valkey 9.1"}
_BARS = (("redis-cli", "redis-cli --cluster create", "#8c959f"), ("clusterboot", "clusterboot up", "#1a7f37"))
_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _TOP = 760, 150, 150, 14, 14, 64
# Readable on light and dark backgrounds.
_STYLE = (
    "text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}"
    ".soft{fill:#59636e}.title{font-size:15px;font-weight:600}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}}"
)


def svg(formed: Sequence[Formed]) -> str:
    """Return the chart of all sizes that both tools formed."""
    ready = {(each.server, each.nodes, each.tool): each.median("ready") for each in formed}
    groups = [
        (server, count)
        for server, count in dict.fromkeys((each.server, each.nodes) for each in formed)
        if all(ready.get((server, count, tool)) is not None for tool, _, _ in _BARS)
    ]
    longest = max((ready[(*group, tool)] or 0.0 for group in groups for tool, _, _ in _BARS), default=1.0)
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    height = _TOP + len(groups) * (2 * _BAR + _GAP) + 4
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'aria-label="Seconds until the cluster is Ready, redis-cli and clusterboot">',
        f"<style>{_STYLE}</style>",
        '<text class="title" x="0" y="18">Seconds until every node is Ready, one replica per primary</text>',
    ]
    x = 0.0
    for _, label, color in _BARS:
        out.append(f'<rect x="{x:g}" y="32" width="12" height="12" rx="2" fill="{color}"/>')
        out.append(f'<text class="soft" x="{x + 18:g}" y="43">{escape(label)}</text>')
        x += 40 + 8 * len(label)
    y = _TOP
    for server, count in groups:
        out.append(f'<text x="0" y="{y + _BAR + 4}">{_NAMES.get(server, server)}, {count} nodes</text>')
        for tool, _, color in _BARS:
            seconds = ready[server, count, tool] or 0.0
            width = max(2.0, seconds * scale)
            out.append(
                f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" rx="2" fill="{color}"/>'
            )
            theirs = ready[server, count, "redis-cli"] or 0.0
            times = f", {theirs / seconds:.0f} times faster" if tool != "redis-cli" and seconds else ""
            x = _LEFT + width + 6
            out.append(f'<text class="soft" x="{x:.1f}" y="{y + _BAR - 3}">{seconds:.1f} s{times}</text>')
            y += _BAR
        y += _GAP
    return "\n".join([*out, "</svg>"]) + "\n"

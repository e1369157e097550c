"""The charts of the README: seconds as bars, two tools side by side in each group. Plain SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.forming import Formed
from benchmarks.moving import STAGES, Moved

_NAMES = {"redis62": "Redis 6.2", "redis70": "Redis 7.0", "valkey91": "Valkey 9.1"}
_COLORS = {"redis-cli": "#8c959f", "clusterboot": "#1a7f37"}
_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _TOP = 760, 210, 150, 14, 14, 64
# Readable on light and dark backgrounds.
_STYLE = (
    "text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}"
    ".soft{fill:#59636e}.title{font-size:15px;font-weight:600}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}}"
)


def formed_svg(formed: Sequence[Formed]) -> str:
    """Return the chart of all sizes that both tools formed."""
    groups: dict[str, dict[str, float | None]] = {}
    for each in formed:
        group = groups.setdefault(f"{_NAMES.get(each.server, each.server)}, {each.nodes} nodes", {})
        group[each.tool] = each.median("ready")
    return _svg(
        "Seconds until every node is Ready, one replica per primary",
        {"redis-cli": "redis-cli --cluster create", "clusterboot": "clusterboot up"},
        groups,
    )


def moved_svg(moved: Sequence[Moved]) -> str:
    """Return the chart of both stages, for all servers on which both tools moved the slots."""
    groups: dict[str, dict[str, float | None]] = {}
    for each in moved:
        for stage, words in zip(STAGES, ("3 → 4", "4 → 3"), strict=True):
            replicas = ", replicas" if each.replicas else ""
            group = groups.setdefault(f"{_NAMES.get(each.server, each.server)}, {words}{replicas}", {})
            group[each.tool] = each.median(stage)
    return _svg(
        "Seconds until the slots are moved, 200,000 keys and a hash of 50 MB",
        {"redis-cli": "redis-cli --cluster rebalance, del-node", "clusterboot": "clusterboot up --rebalance"},
        groups,
    )


def _svg(title: str, legend: Mapping[str, str], groups: Mapping[str, Mapping[str, float | None]]) -> str:
    """Return a chart of seconds by group and tool; groups that lack a tool of `legend` are left out."""
    shown: dict[str, dict[str, float]] = {}
    for name, found in groups.items():
        times = {tool: seconds for tool in legend if (seconds := found.get(tool)) is not None}
        if len(times) == len(legend):
            shown[name] = times
    longest = max((seconds for times in shown.values() for seconds in times.values()), default=1.0)
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    height = _TOP + len(shown) * (2 * _BAR + _GAP) + 4
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}: redis-cli and clusterboot">',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="0" y="18">{escape(title)}</text>',
    ]
    x = 0.0
    for tool, label in legend.items():
        out.append(f'<rect x="{x:g}" y="32" width="12" height="12" rx="2" fill="{_COLORS[tool]}"/>')
        out.append(f'<text class="soft" x="{x + 18:g}" y="43">{escape(label)}</text>')
        x += 40 + 8 * len(label)
    y = _TOP
    for name, times in shown.items():
        out.append(f'<text x="0" y="{y + _BAR + 4}">{escape(name)}</text>')
        for tool, seconds in times.items():
            width = max(2.0, seconds * scale)
            out.append(
                f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" rx="2" '
                f'fill="{_COLORS[tool]}"/>'
            )
            faster = f", {times['redis-cli'] / seconds:.0f} times faster" if tool != "redis-cli" else ""
            x = _LEFT + width + 6
            out.append(f'<text class="soft" x="{x:.1f}" y="{y + _BAR - 3}">{seconds:.1f} s{faster}</text>')
            y += _BAR
        y += _GAP
    return "\n".join([*out, "</svg>"]) + "\n"

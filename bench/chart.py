"""Draws the ratios as SVG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measurement import Outcome

_ROW, _TOP, _BOTTOM = 28, 58, 46
_LABELS, _SCALE, _NUMBERS = 460, 400, 70
_WIDTH = _LABELS + _SCALE + _NUMBERS
# Ratios are symmetric on a logarithmic scale: twice as fast is as far from 1 as half as fast.
_LEAST, _MOST = 0.0625, 16.0
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.small { font-size: 11px; fill: #59636e }
.title { font-size: 15px; font-weight: 600 }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.one { stroke: #1f2328; stroke-width: 1.5 }
.spread { stroke: #0969da; stroke-width: 3; stroke-linecap: round }
.reached { fill: #0969da; stroke: none }
.missed { fill: #cf222e; stroke: none }
.target { stroke: #9a6700; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .small { fill: #9198a1 } .grid { stroke: #3d444d } .one { stroke: #f0f6fc }
  .spread { stroke: #4493f8 } .reached { fill: #4493f8 } .missed { fill: #f85149 }
  .target { stroke: #d29922 }
}
"""


def chart(outcomes: Sequence[Outcome], caption: str) -> str:
    """A line for each ratio: the median as a dot between the extremes, the target as a tick."""
    ratios = [outcome for outcome in outcomes if outcome.is_ratio]
    height = _TOP + _ROW * len(ratios) + _BOTTOM
    bottom = height - _BOTTOM
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'width="{_WIDTH}" height="{height}" role="img" aria-label="{escape(caption)}">'
        ),
        f"<style>{_STYLE}</style>",
        _text(12, 22, "Requests a second, s3proxy ÷ the other, one core each", "title"),
        _text(
            12, 40, "dot: median; line: lowest to highest pair; tick: target; red: missed", "small"
        ),
    ]
    for value in (0.0625, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16):
        x = _x(value)
        kind = "one" if value == 1 else "grid"
        parts.append(_line(x, _TOP - 6, x, bottom, kind))
        parts.append(_text(x, bottom + 16, f"{value:.3g}×", "small", anchor="middle"))
    for index, outcome in enumerate(ratios):
        parts += _row(outcome, _TOP + _ROW * index + _ROW / 2)
    parts += [_text(12, height - 10, caption, "small"), "</svg>", ""]
    return "\n".join(parts)


def _row(outcome: Outcome, y: float) -> list[str]:
    value = outcome.value
    parts = [_text(_LABELS - 12, y + 4, outcome.title, anchor="end")]
    if outcome.target is not None:
        x = _x(outcome.target.value)
        parts.append(_line(x, y - 9, x, y + 9, "target"))
    parts.append(_line(_x(value.low), y, _x(value.high), y, "spread"))
    kind = "missed" if outcome.reached is False else "reached"
    parts.append(f'<circle cx="{_x(value.median):.1f}" cy="{y:.1f}" r="5.5" class="{kind}"/>')
    parts.append(_text(_LABELS + _SCALE + 14, y + 4, f"{value.median:.2f}×"))
    return parts


def _x(ratio: float) -> float:
    """Where a ratio is; beyond the scale's ends, at them."""
    share = math.log(max(_LEAST, min(_MOST, ratio)) / _LEAST) / math.log(_MOST / _LEAST)
    return _LABELS + share * _SCALE


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    css = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{css}>{escape(text)}</text>'

"""Drawings as SVG, made on the server: their colours are classes of the style sheet, so they follow it
into the dark.

Every drawing has a title that says in words what it shows; the numbers stand in a table beside it.
"""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 720, 160
_LEFT, _BOTTOM, _TOP = 44, 20, 8


def columns(
    title: str, labels: Sequence[str], series: Mapping[str, Sequence[int]], *, height: int = HEIGHT
) -> Markup:
    """Stacked columns, one for each of *labels*; *series* by the class of their colour, the lowest first."""
    sums = [sum(values) for values in zip(*series.values(), strict=True)] or [0]
    top = _round_up(max(sums))
    plot = height - _BOTTOM - _TOP
    step = (WIDTH - _LEFT) / max(1, len(labels))
    parts = [_grid(top, plot)]
    heights = [0.0] * len(labels)
    for colour, values in series.items():
        for place, value in enumerate(values):
            if not value:
                continue
            tall = plot * value / top
            heights[place] += tall
            parts.append(
                Markup(
                    '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                    "<title>{}: {} {}</title></rect>"
                ).format(
                    f"fill-{colour}",
                    _LEFT + place * step + step * 0.1,
                    _TOP + plot - heights[place],
                    max(1.0, step * 0.8),
                    tall,
                    labels[place],
                    value,
                    colour,
                )
            )
    parts.append(_labels(labels, step, height))
    return _svg(title, WIDTH, height, parts)


def lines(
    title: str, labels: Sequence[str], series: Mapping[str, Sequence[int]], *, height: int = HEIGHT
) -> Markup:
    """A line for each of *series* (by the class of its colour) over the same *labels*."""
    top = _round_up(max((max(values, default=0) for values in series.values()), default=0))
    plot = height - _BOTTOM - _TOP
    step = (WIDTH - _LEFT) / max(1, len(labels))
    parts = [_grid(top, plot)]
    for colour, values in series.items():
        # A single place would be a line without a length.
        spread = [
            (place, part)
            for place in range(len(values))
            for part in ((0.5,) if len(values) > 1 else (0.4, 0.6))
        ]
        points = " ".join(
            f"{_LEFT + (place + part) * step:.1f},{_TOP + plot - plot * values[place] / top:.1f}"
            for place, part in spread
        )
        parts.append(
            Markup('<polyline class="{}" points="{}"><title>{}</title></polyline>').format(
                f"line-{colour}", points, colour
            )
        )
    parts.append(_labels(labels, step, height))
    return _svg(title, WIDTH, height, parts)


def bar(title: str, rows: Sequence[tuple[str, int, int]], *, of: int) -> Markup:
    """Lying bars without a word, for a cell of a table: (class of the colour, part, pale part behind it)."""
    high = 10 / max(1, len(rows))
    parts = [Markup('<rect class="fill-track" width="100" height="10"/>')]
    for place, (colour, part, behind) in enumerate(rows):
        for value, pale in ((behind, " pale"), (part, "")):
            if value:
                parts.append(
                    Markup('<rect class="{}" y="{:.2f}" width="{:.1f}" height="{:.2f}"/>').format(
                        f"fill-{colour}{pale}", place * high, 100 * value / max(1, of), high
                    )
                )
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(title, Markup("").join(parts))


def ladder(called: str, counts: Mapping[str, int], stages: Sequence[str], *, of: int) -> Markup:
    """The *stages* of letters below each other, small: how many of all letters each was reported of."""
    told = ", ".join(f"{stage} {counts[stage]}" for stage in stages)
    return bar(f"{called}: {told} of {of} letters", [(stage, counts[stage], 0) for stage in stages], of=of)


def trend(title: str, counts: Sequence[int]) -> Markup:
    """A small drawing within a line of text."""
    top = max(1, *counts) if counts else 1
    parts = [
        Markup('<rect class="fill-trend" x="{}" y="{:.1f}" width="4" height="{:.1f}"/>').format(
            place * 5, 18 - 17 * count / top, max(0.5, 17 * count / top)
        )
        for place, count in enumerate(counts)
    ]
    return Markup(
        '<svg class="trend" viewBox="0 0 {} 18" width="{}" height="18" role="img" aria-label="{}">{}</svg>'
    ).format(5 * len(counts), 5 * len(counts), title, Markup("").join(parts))


def _svg(title: str, width: int, height: int, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, title, Markup("").join(parts)
    )


def _grid(top: int, plot: int) -> Markup:
    return Markup("").join(
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
            '<text class="axis" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        ).format(_LEFT, WIDTH, y, y, _LEFT - 6, y + 4, _short(top * part // 2))
        for part in range(3)
        for y in (_TOP + plot - plot * part / 2,)
    )


def _labels(labels: Sequence[str], step: float, height: int) -> Markup:
    every = max(1, -(-len(labels) // 8))
    found = []
    for place in range(0, len(labels), every):
        x = _LEFT + (place + 0.5) * step
        anchor = "end" if x > WIDTH - 30 else "middle"
        text = Markup('<text class="axis" x="{:.1f}" y="{}" text-anchor="{}">{}</text>')
        found.append(text.format(x, height - 5, anchor, labels[place]))
    return Markup("").join(found)


def _round_up(value: int) -> int:
    """The next number that people like to read on an axis; even, so that half of it is whole."""
    size = 1
    while size * 10 <= value:
        size *= 10
    return next(each for each in (2 * size, 4 * size, 6 * size, 10 * size) if each >= value)


def _short(value: int) -> str:
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if value >= size:
            return f"{value / size:.1f}".removesuffix(".0") + unit
    return str(value)

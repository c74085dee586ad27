"""Charts of weights: a waterfall, a series, a graph, and a text with coloured words. Drawn with Pillow alone."""

import html
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from handlers.explain.render import BLUE, GREY, RED

WIDTH, ROW, NAMES = 760, 26, 260  # pixels: of a chart, of a row, of its names
MAX_ROWS = 14  # the weakest columns share one row
FONT_SIZE = 13
TITLE = "from {:.4g} to {:.4g}"


def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)


def colour(weight: float) -> tuple[int, int, int]:
    return RED if weight > 0 else BLUE


def tint(weight: float, strongest: float) -> tuple[int, int, int]:
    """White for no weight, red or blue for the strongest."""
    share = min(1.0, abs(weight) / (strongest or 1.0))
    red, green, blue = (round(255 + share * (level - 255)) for level in colour(weight))
    return red, green, blue


def strongest_of(weights: Sequence[float]) -> float:
    return max(map(abs, weights), default=0.0) or 1.0


def waterfall(bars: list[tuple[str, float]], start: float, end: float) -> Image.Image:
    """Bars from the baseline's score to the input's, the strongest first; the weakest share the last bar."""
    bars = sorted(bars, key=lambda bar: -abs(bar[1]))
    if len(bars) > MAX_ROWS:
        rest = bars[MAX_ROWS - 1 :]
        bars = [*bars[: MAX_ROWS - 1], (f"{len(rest)} others", sum(weight for _, weight in rest))]
    ends = [start]
    for _, weight in bars:
        ends.append(ends[-1] + weight)
    low, high = min(ends), max(ends)
    scale = (WIDTH - NAMES - 90) / ((high - low) or 1.0)
    picture = Image.new("RGB", (WIDTH, ROW * (len(bars) + 2)), "white")
    draw, letters = ImageDraw.Draw(picture), font()
    draw.text((10, 6), TITLE.format(start, end), fill=GREY, font=letters)
    for row, ((name, weight), before, after) in enumerate(zip(bars, ends[:-1], ends[1:], strict=True), 1):
        left, right = (NAMES + scale * (edge - low) for edge in sorted((before, after)))
        draw.text((10, row * ROW + 5), name[:36], fill="black", font=letters)
        draw.rectangle([left, row * ROW + 4, max(right, left + 1), (row + 1) * ROW - 4], fill=colour(weight))
        draw.text((right + 6, row * ROW + 5), f"{weight:+.3g}", fill="black", font=letters)
    return picture


def series(values: Sequence[float], stretches: list[dict]) -> Image.Image:
    """The series as a line, over stretches that are coloured by their weights."""
    first = stretches[0]["start"]
    seen = [float(value) for value in values[first:]]
    low, high = min(seen), max(seen)
    height = 240
    picture = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(picture)
    across, up = WIDTH / max(1, len(seen)), (height - 20) / ((high - low) or 1.0)
    strongest = strongest_of([one["weight"] for one in stretches])
    for one in stretches:
        left, right = ((one[edge] - first) * across for edge in ("start", "end"))
        draw.rectangle([left, 0, right, height], fill=tint(one["weight"], strongest))
    points = [((index + 0.5) * across, height - 10 - (value - low) * up) for index, value in enumerate(seen)]
    draw.line(points, fill="black", width=2)
    return picture


def graph(nodes: list[float], edges: list[dict]) -> Image.Image:
    """The nodes on a circle, in the order in which they were sent, and the edges between them."""
    side, centre = 480, 240
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    angles = [2 * math.pi * index / max(1, len(nodes)) for index in range(len(nodes))]
    places = [(centre + 200 * math.sin(angle), centre - 200 * math.cos(angle)) for angle in angles]
    strongest = strongest_of([edge["weight"] for edge in edges])
    for edge in sorted(edges, key=lambda edge: abs(edge["weight"])):  # the strong ones above
        one, other = edge["nodes"]
        share = abs(edge["weight"]) / strongest
        draw.line([places[one], places[other]], fill=tint(edge["weight"], strongest), width=1 + round(5 * share))
    strongest = strongest_of(nodes)
    for index, ((x, y), weight) in enumerate(zip(places, nodes, strict=True)):
        draw.ellipse([x - 12, y - 12, x + 12, y + 12], fill=tint(weight, strongest), outline=GREY)
        if len(nodes) <= 50:
            draw.text((x - 4 * len(str(index)), y - 8), str(index), fill="black", font=font())
    return picture


def words_in_lines(words: list[dict]) -> Image.Image:
    """The words in lines, red if they raise the score and blue if they lower it."""
    letters, strongest = font(), strongest_of([word["weight"] for word in words])
    across, row, placed = 10.0, 0, []
    for word in words:
        width = letters.getlength(word["word"]) + 8
        if across + width > WIDTH - 10 and across > 10:
            across, row = 10.0, row + 1
        placed.append((across, row * ROW + 8, width, word))
        across += width + 4
    picture = Image.new("RGB", (WIDTH, (row + 1) * ROW + 14), "white")
    draw = ImageDraw.Draw(picture)
    for left, top, width, word in placed:
        draw.rectangle([left, top, left + width, top + ROW - 5], fill=tint(word["weight"], strongest))
        draw.text((left + 4, top + 2), word["word"], fill="black", font=letters)
    return picture


def coloured_text(text: str, words: list[dict]) -> str:
    """The text as HTML: words that raise the score are red, words that lower it blue."""
    strongest = strongest_of([word["weight"] for word in words])
    written, end = [], 0
    for word in words:
        red, green, blue = tint(word["weight"], strongest)
        shown = html.escape(text[word["start"] : word["end"]])
        style = f"background: rgb({red} {green} {blue})"
        written.append(html.escape(text[end : word["start"]]))
        written.append(f'<span style="{style}" title="{word["weight"]:+.4f}">{shown}</span>')
        end = word["end"]
    return f'<p style="white-space: pre-wrap">{"".join(written)}{html.escape(text[end:])}</p>'

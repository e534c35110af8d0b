"""Bars as SVG, on a logarithmic axis: what a benchmark draws for docs/."""
import math

BAR, GAP, LEFT, WIDTH, RIGHT = 13, 14, 250, 460, 70
COLOURS = ("#2a6f97", "#c9a227", "#a44a3f", "#6b7f4e")


def text(x, y, what, anchor="start", size=12):
    return ('<text x="%g" y="%g" font-size="%d" text-anchor="%s">%s</text>' %
            (x, y, size, anchor, what.replace("&", "&amp;").replace("<",
                                                                    "&lt;")))


def bars(path, title, series, rows, unit):
    """`rows`: (name, [a value or None for each of `series`]), values > 0."""
    values = [v for _, row in rows for v in row if v]
    low = 10 ** math.floor(math.log10(min(values)))
    high = 10 ** math.ceil(math.log10(max(values)))

    def x_of(value):
        return LEFT + WIDTH * math.log10(value / low) / math.log10(high / low)

    out, y = [text(10, 20, title, size=14)], 34
    for i, name in enumerate(series):
        out.append('<rect x="%d" y="%d" width="10" height="10" fill="%s"/>' %
                   (LEFT + i * 150, y, COLOURS[i % len(COLOURS)]))
        out.append(text(LEFT + 15 + i * 150, y + 9, name))
    y += 26
    top = y
    for name, row in rows:
        shown = [(i, v) for i, v in enumerate(row) if v]
        out.append(text(LEFT - 8, y + BAR * len(shown) / 2 + 4, name, "end"))
        for i, value in shown:
            out.append('<rect x="%d" y="%d" width="%.1f" height="%d" '
                       'fill="%s"/>' % (LEFT, y, x_of(value) - LEFT, BAR - 2,
                                        COLOURS[i % len(COLOURS)]))
            out.append(text(x_of(value) + 4, y + 9, "%.3g" % value, size=10))
            y += BAR
        y += GAP
    power = round(math.log10(low))
    while 10.0 ** power <= high:
        x = x_of(10.0 ** power)
        out.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" '
                   'stroke="#bbb"/>' % (x, x, top - 6, y - GAP + 4))
        out.append(text(x, y + 2, "%g %s" % (10.0 ** power, unit), "middle",
                        10))
        power += 1
    with open(path, "w", encoding="utf-8") as file:
        file.write('<svg xmlns="http://www.w3.org/2000/svg" width="%d" '
                   'height="%d" font-family="sans-serif">\n'
                   '<rect width="100%%" height="100%%" fill="#fff"/>\n%s\n'
                   "</svg>\n" % (LEFT + WIDTH + RIGHT, y + 14,
                                 "\n".join(out)))

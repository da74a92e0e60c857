"""SVG text and the pictures in it, made small without a difference that can be seen.

What matplotlib writes has six decimals where a hundredth of a point cannot be seen, and four bytes a pixel.
"""

import base64
import io
import re
from collections import Counter
from urllib.parse import quote

import numpy as np
from PIL import Image

UNITS = 100  # a point of coordinates
LONG = 80  # characters of a path that is worth a name
OFTEN = 3  # a style that is written so often becomes a class
COLOURS = 256  # of a palette
ROUNDS = 8  # of the palette's improvement
QUALITY = 85  # of photographs
ABSOLUTE = {"M": 1, "L": 1, "Q": 2, "C": 3, "z": 0, "Z": 0}  # what matplotlib writes: points of each command
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_TOKEN = re.compile(r"[A-Za-z]|-?[\d.]+(?:e-?\d+)?")
_LINES = re.compile(r'<path d="([^"]*)"((?: clip-path="[^"]*")? style="fill:none[^"]*")/>(?:\n<path d="[^"]*"\2/>)+')


def compact(svg: str) -> str:
    """The same drawing in fewer bytes, equal for equal texts.

    Coordinates are rounded to a hundredth of a point, identifiers are short and only where they are used, a picture is
    what :func:`recoded` makes of it.
    """
    pictures: list[str] = []

    def put_aside(match: re.Match[str]) -> str:
        pictures.append(recoded(base64.b64decode(match[1])))
        return f'href="picture:{len(pictures) - 1}"'

    svg = re.sub(r'href="data:image/[a-z]+;base64,([^"]+)"', put_aside, svg)
    svg = re.sub(r"<!DOCTYPE.*?>\s*|<metadata>.*?</metadata>\s*|(?<=\n) +", "", svg, flags=re.S)
    svg = _renamed(svg)
    svg = re.sub(r'(?<= d=")[^"]*', lambda match: _path(match[0]), svg)
    svg = re.sub(r'(?<= points=")[^"]*', _rounded, svg)
    svg = re.sub(r'(?<= [xy]=")[^"]*', _rounded, svg)
    svg = re.sub(r"(?<=translate\()[^)]*", _rounded, svg)
    svg = re.sub(r'(?<= style=")[^"]*', lambda match: re.sub(r"([:;]) +", r"\1", match[0]).rstrip(";"), svg)
    svg = re.sub(r'(<use [^>]*?)transform="translate\(([\d.-]+) 0\)"', r'\1x="\2"', svg)
    svg = _classed(_LINES.sub(_merged, _shared(_flat(svg))))
    return re.sub(r"picture:(\d+)", lambda match: pictures[int(match[1])], svg)


def data_uri(svg: str) -> str:
    """The address of an SVG that holds itself, without base64, for a double-quoted attribute of an HTML page."""
    svg = re.sub(r"=\"([^\"']*)\"", r"='\1'", svg).replace("\n", " ")
    svg = svg.replace("xlink:href", "href")  # which some editors still want, and no browser
    text = quote(svg, safe=" !'()*+,-./:;<=>?@[]^_`{|}~$")
    return "data:image/svg+xml;charset=utf-8," + text.replace("url(", "url%28")


def recoded(data: bytes) -> str:
    """A picture as a data URI: at most 256 colours, which is exact where it has no more, or JPEG of a photograph.

    A photograph is a picture without transparency that has more colours than a palette: its own are kept better so.
    """
    image = Image.open(io.BytesIO(data))
    if image.mode != "RGBA":
        return f"data:image/{(image.format or 'png').lower()};base64,{base64.b64encode(data).decode('ascii')}"
    pixels = np.asarray(image).copy()
    pixels[pixels[..., 3] == 0] = 0
    words, places, counts = np.unique(pixels.reshape(-1, 4).view(np.uint32), return_inverse=True, return_counts=True)
    colours = words.view(np.uint8).reshape(-1, 4)
    packed = io.BytesIO()
    if len(colours) > COLOURS and (colours[:, 3] == 255).all():
        image.convert("RGB").save(packed, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
        kind = "jpeg"
    else:
        palette, nearest = _palette(colours, counts)
        indices = nearest[places].astype(np.uint8).reshape(pixels.shape[:2])
        _with_palette(indices, palette).save(packed, "PNG", optimize=True, transparency=palette[:, 3].tobytes())
        kind = "png"
    return f"data:image/{kind};base64,{base64.b64encode(packed.getvalue()).decode('ascii')}"


def _with_palette(indices: np.ndarray, palette: np.ndarray) -> Image.Image:
    image = Image.fromarray(indices, "L").convert("P")
    image.putpalette(palette[:, :3].tobytes())
    image.putdata(indices.ravel().tolist())
    return image


def _palette(colours: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A palette uint8 [<= 256, 4] of colours [N, 4] that occur so often, and the entry of each.

    Lloyd's algorithm in colours times their opacity, from the means of the fullest boxes of 16 levels a side.
    """
    if len(colours) <= COLOURS:
        return colours, np.arange(len(colours))
    opacity = colours[:, 3:] / 255.0
    points = np.concatenate([colours[:, :3] * opacity, colours[:, 3:]], axis=1)
    weights = counts**0.75  # single pixels at the edge of a marker count, though its inside is larger
    _, boxes = np.unique((points // 16) @ (16 ** np.arange(4)), return_inverse=True)
    means, total = _means(points, weights, boxes, int(boxes.max()) + 1)
    centres = means[np.argsort(-total, kind="stable")[:COLOURS]]
    for _ in range(ROUNDS):
        means, total = _means(points, weights, _nearest(points, centres), len(centres))
        centres = np.where(total[:, None] > 0, means, centres)
    alpha = np.maximum(centres[:, 3:], 1e-9) / 255
    palette = np.concatenate([centres[:, :3] / alpha, centres[:, 3:]], axis=1)
    return palette.round().clip(0, 255).astype(np.uint8), _nearest(points, centres)


def _means(points: np.ndarray, weights: np.ndarray, groups: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The weighted mean of each group, and its weight; 0 of an empty one."""
    total = np.bincount(groups, weights, number)
    sums = np.stack([np.bincount(groups, weights * column, number) for column in points.T], axis=1)
    return sums / np.maximum(total, 1e-12)[:, None], total


def _nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return ((centres**2).sum(1) - 2 * points @ centres.T).argmin(1)


def _short(value: str) -> str:
    return _decimal(round(float(value) * UNITS))


def _decimal(units: int) -> str:
    """So many hundredths as a number without what it does not need: -50 is ``-.5``."""
    whole, part = divmod(abs(units), UNITS)
    text = f"{whole or ''}" + (f".{part:02d}".rstrip("0") if part else "")
    return f"-{text}" if units < 0 else text or "0"


def _rounded(match: re.Match[str]) -> str:
    return _NUMBER.sub(lambda number: _short(number[0]), match[0])


def _path(data: str) -> str:
    """A path's data with numbers in hundredths, each point relative to the one before; relative data stay as they are.

    Steps are taken between rounded points, so that no error adds up.
    """
    tokens = _TOKEN.findall(data)
    if any(token.isalpha() and token not in ABSOLUTE for token in tokens):
        return data
    result: list[str] = []
    command, at, start, index = "", (0, 0), (0, 0), 0
    while index < len(tokens):
        if tokens[index].isalpha():
            before, command, index = command, tokens[index], index + 1
            if command in "zZ":
                result.append("z")
                at = start
                continue
            if command == "M":
                result.append("M")
            elif command != before:
                result.append(command.lower())
        origin = (0, 0) if command == "M" else at
        for _ in range(ABSOLUTE[command]):
            point = round(float(tokens[index]) * UNITS), round(float(tokens[index + 1]) * UNITS)
            index += 2
            for value, zero in zip(point, origin, strict=True):
                number = _decimal(value - zero)
                glued = result[-1][-1].isalpha() or number[0] == "-" or (number[0] == "." and "." in result[-1])
                result.append(number if glued else f" {number}")
        at = point
        if command == "M":
            start = at
    return "".join(result)


def _flat(svg: str) -> str:
    """Without groups that hold one element and say nothing."""
    before = ""
    while before != svg:
        before = svg
        svg = re.sub(r"<g>\n(<[a-z]+ [^>]*/>)\n</g>", r"\1", svg)
    return svg


def _merged(match: re.Match[str]) -> str:
    """Consecutive lines of one look as one path, if they are opaque: where transparent ones cross, they are darker."""
    if "opacity" in match[2]:
        return match[0]
    data = "".join(re.findall(r'<path d="([^"]*)"', match[0]))
    return f'<path d="{data}"{match[2]}/>'


def _shared(svg: str) -> str:
    """Long curves that are drawn twice, as with a halo, in the text once."""
    counts = Counter(re.findall(r'<path d="([^"]*)"', svg))
    twice = {d: f"p{_base36(i)}" for i, d in enumerate(d for d, n in counts.items() if n > 1 and len(d) > LONG)}

    def used(match: re.Match[str]) -> str:
        return f'<use xlink:href="#{twice[match[1]]}"' if match[1] in twice else match[0]

    svg = re.sub(r'<path d="([^"]*)"', used, svg)
    defined = "".join(f'<path id="{name}" d="{data}"/>\n' for data, name in twice.items())
    return svg.replace("</defs>", f"{defined}</defs>", 1)


def _classed(svg: str) -> str:
    """Styles that occur often as classes of the style sheet."""
    counts = Counter(re.findall(r' style="([^"]*)"', svg))
    often = {style: f"s{_base36(number)}" for number, style in enumerate(s for s, n in counts.items() if n >= OFTEN)}
    svg = re.sub(
        r' style="([^"]*)"', lambda match: f' class="{often[match[1]]}"' if match[1] in often else match[0], svg
    )
    sheet = "".join(f".{name}{{{style}}}" for style, name in often.items())
    return svg.replace("</style>", f"{sheet}</style>", 1)


def _renamed(svg: str) -> str:
    """Identifiers that are referred to, as short as they can be, in the order of the text; the others are dropped."""
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    order = [name for name in dict.fromkeys(re.findall(r' id="([^"]+)"', svg)) if name in used]
    short = {name: f"i{_base36(number)}" for number, name in enumerate(order)}
    svg = re.sub(r' id="([^"]+)"', lambda match: f' id="{short[match[1]]}"' if match[1] in short else "", svg)
    return re.sub(r'(href="|url\()#([^")]+)', lambda match: f"{match[1]}#{short.get(match[2], match[2])}", svg)


def _base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return digits[number] if number < 36 else _base36(number // 36) + digits[number % 36]

"""Procedurally drawn faces in CelebA's own file formats: a stand-in whose attributes can be seen.

Every image is drawn from its attributes with polygons in a rotated and shifted frame; nothing shows a real person.
"""

import io
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..files import atomic, write_text
from .celeba_texts import ATTRIBUTES

HAIR = {
    "Black_Hair": (32, 27, 26),
    "Brown_Hair": (104, 62, 34),
    "Blond_Hair": (222, 184, 104),
    "Gray_Hair": (158, 157, 160),
}
# The share of identities, or of single images, that have the attribute.
OF_IDENTITY = {
    "Bald": 0.10, "Bangs": 0.3, "Big_Nose": 0.3, "Narrow_Eyes": 0.25, "Bushy_Eyebrows": 0.3, "Pale_Skin": 0.2,
    "Mustache": 0.18, "Goatee": 0.18, "Wavy_Hair": 0.35, "Big_Lips": 0.25, "Arched_Eyebrows": 0.35,
}  # fmt: skip
OF_IMAGE = {
    "Smiling": 0.5, "Mouth_Slightly_Open": 0.4, "Eyeglasses": 0.25, "Wearing_Hat": 0.18, "Wearing_Lipstick": 0.3,
    "Wearing_Earrings": 0.25, "Wearing_Necktie": 0.2, "Rosy_Cheeks": 0.15,
}  # fmt: skip
DRAWN = (*OF_IDENTITY, *OF_IMAGE, *HAIR, "No_Beard", "Straight_Hair")
IDENTITIES = (150, 30, 30)
IMAGES_EACH = 5
WIDTH, HEIGHT = 178, 218
_SCALE = 2
_ANGLES = np.linspace(0, 2 * np.pi, 41)[:-1]

Color = tuple[int, ...]


class _Pen:
    """Fills shapes given in the frame of 178x218, rolled by radians and shifted; the canvas is twice as large."""

    def __init__(self, background: Color, roll: float, shift: tuple[float, float]) -> None:
        self.image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), background)
        self._draw = ImageDraw.Draw(self.image)
        cos, sin = np.cos(roll), np.sin(roll)
        self._turn = np.array([[cos, sin], [-sin, cos]]) * _SCALE
        self._center = np.array([89.0, 130.0])
        self._shift = (self._center + shift) * _SCALE

    def _place(self, points: Any) -> list[tuple[float, ...]]:
        return list(map(tuple, (np.asarray(points, float) - self._center) @ self._turn + self._shift))

    def polygon(self, points: Any, fill: Color) -> None:
        self._draw.polygon(self._place(points), fill=fill)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Color) -> None:
        self.polygon(np.stack([x + rx * np.cos(_ANGLES), y + ry * np.sin(_ANGLES)], 1), fill)

    def ring(self, x: float, y: float, rx: float, ry: float, width: float, fill: Color) -> None:
        points = np.stack([x + rx * np.cos(_ANGLES), y + ry * np.sin(_ANGLES)], 1)
        self.line(np.concatenate([points, points[:2]]), width, fill)

    def line(self, points: Any, width: float, fill: Color) -> None:
        self._draw.line(self._place(points), fill=fill, width=round(width * _SCALE), joint="curve")


def _shade(color: Iterable[int], factor: float) -> Color:
    return tuple(int(min(255, max(0, channel * factor))) for channel in color)


def _mix(color: Color, factor: tuple[float, ...], offset: tuple[int, ...]) -> Color:
    return tuple(max(0, int(c * f + o)) for c, f, o in zip(color, factor, offset, strict=True))


def _identity(rng: np.random.Generator) -> dict[str, Any]:
    """What all images of one person share: attributes, skin, hair and the shape of the head."""
    has = {name: bool(rng.random() < share) for name, share in OF_IDENTITY.items()}
    color = str(rng.choice(list(HAIR), p=[0.33, 0.32, 0.2, 0.15]))
    tone = float(rng.uniform(0.35, 0.98))
    skin = (238, 214, 200) if has["Pale_Skin"] else _shade((232, 176, 138), tone)
    return {
        "has": has,
        "hair": color,
        "skin": skin,
        "head": (float(rng.uniform(37, 43)), float(rng.uniform(49, 55))),
        "long": bool(rng.random() < 0.45),
        "eye": [(70, 110, 60), (60, 90, 150), (80, 50, 25), (40, 30, 25)][int(rng.integers(4))],
        "tint": float(rng.uniform(0.9, 1.1)),
    }


def _attributes(person: dict[str, Any], rng: np.random.Generator) -> dict[str, bool]:
    """The attributes of one image: what cannot be seen beside something else (a fringe under a hat) is not claimed."""
    has = dict(person["has"]) | {name: bool(rng.random() < share) for name, share in OF_IMAGE.items()}
    has["Wearing_Hat"] &= not has["Bald"]
    has["Bangs"] &= not (has["Bald"] or has["Wearing_Hat"])
    has["Wavy_Hair"] &= not (has["Bald"] or has["Wearing_Hat"])
    has["Straight_Hair"] = not (has["Bald"] or has["Wearing_Hat"] or has["Wavy_Hair"])
    has["No_Beard"] = not (has["Mustache"] or has["Goatee"])
    return has | {name: name == person["hair"] and not has["Bald"] for name in HAIR}


def _draw_back(pen: _Pen, person: dict[str, Any], has: dict[str, bool], hair: Color, shirt: Color) -> None:
    """Everything behind the face: hair, shoulders, neck, tie and ears."""
    rx, ry = person["head"]
    if not has["Bald"]:
        if person["long"]:
            pen.polygon([(89 - rx - 11, 105), (89 + rx + 11, 105), (89 + rx + 17, 196), (89 - rx - 17, 196)], hair)
        pen.ellipse(89, 112, rx + 10, ry + (2 if has["Wearing_Hat"] else 7), hair)
        if has["Wavy_Hair"]:
            low = 0.9 if person["long"] else 0.35
            for angle in np.linspace(np.pi * (1 - low) - 0.4, np.pi * (2 + low) + 0.4, 19):
                x, y = 89 + (rx + 10) * np.cos(angle), 112 + (ry + 7) * np.sin(angle)
                pen.ellipse(x, y, 8.5, 8.5, _shade(hair, 1.08))
            for y in range(140, 200, 14) if person["long"] else ():
                pen.ellipse(89 - rx - 15, y, 8, 8, _shade(hair, 1.08))
                pen.ellipse(89 + rx + 15, y, 8, 8, _shade(hair, 1.08))
    pen.polygon([(20, 240), (34, 192), (70, 180), (108, 180), (144, 192), (158, 240)], shirt)
    neck = _shade(person["skin"], 0.82)
    pen.polygon([(73, 150), (105, 150), (108, 184), (89, 196), (70, 184)], neck)
    if has["Wearing_Necktie"]:
        white, tie = (240, 240, 240), _shade((200 - shirt[0] // 2, 40, 60), 0.9)
        pen.polygon([(70, 176), (89, 192), (108, 176), (124, 240), (54, 240)], white)
        pen.polygon([(83, 178), (95, 178), (98, 189), (80, 189)], tie)
        pen.polygon([(82, 189), (96, 189), (103, 240), (75, 240)], _shade(tie, 1.15))
    for side in (-1, 1):
        pen.ellipse(89 + side * (rx + 1), 122, 7, 12, _shade(person["skin"], 0.9))
        if has["Wearing_Earrings"]:
            pen.ellipse(89 + side * (rx + 4), 140, 4.5, 6.5, (250, 205, 60))
            pen.ellipse(89 + side * (rx + 3.4), 138.5, 1.6, 2, (255, 250, 220))


def _draw_features(pen: _Pen, person: dict[str, Any], has: dict[str, bool], hair: Color, yaw: float) -> None:
    """Eyes, eyebrows, nose, cheeks and beard; ``yaw`` pixels to the side where the head is turned."""
    skin, center = person["skin"], 89 + yaw
    brow = _shade(hair, 0.75) if not has["Bald"] else (70, 52, 40)
    for side in (-1, 1):
        x, open_ = center + side * 19.5, 2.6 if has["Narrow_Eyes"] else 5.4
        pen.ellipse(x, 112, 9.5, open_ + 1.2, _shade(skin, 0.72))
        pen.ellipse(x, 112.4, 8.6, open_, (250, 250, 248))
        pen.ellipse(x + yaw * 0.15, 112.4, min(4.4, open_ + 0.8), min(4.4, open_), person["eye"])
        pen.ellipse(x + yaw * 0.15, 112.4, min(2.1, open_), min(2.1, open_), (15, 12, 12))
        thick, lift = (5.2, 1) if has["Bushy_Eyebrows"] else (2.4, 0)
        bow = np.linspace(-1, 1, 9)
        arch = 100 - (7 if has["Arched_Eyebrows"] else 1.5) * (1 - bow**2) + lift + bow * 0.8
        pen.line(np.stack([x + side * 11.5 * bow, arch], 1), thick, brow)
    if has["Rosy_Cheeks"]:
        for side in (-1, 1):
            pen.ellipse(center + side * 25, 135, 8.5, 6.5, _mix(skin, (0.7, 0.6, 0.6), (70, 28, 34)))
    wide, tip = (10.5, 138) if has["Big_Nose"] else (5.5, 135)
    bridge = [(center - 2.2, 112), (center + 2.2, 112), (center + wide * 0.8, tip), (center - wide * 0.8, tip)]
    pen.polygon(bridge, _shade(skin, 0.93))
    pen.ellipse(center, tip, wide, 4.8 if has["Big_Nose"] else 3.2, _shade(skin, 0.84))
    for side in (-1, 1):
        pen.ellipse(center + side * wide * 0.5, tip + 1.2, wide * 0.2, 1.2, _shade(skin, 0.5))
    if has["Goatee"]:
        pen.ellipse(center, 165, 14, 10.5, _shade(hair, 0.85))
    if has["Mustache"]:
        shape = [(0, 140.5), (19, 148.5), (12, 149.5), (0, 146.5), (-12, 149.5), (-19, 148.5)]
        pen.polygon([(center + x, y) for x, y in shape], _shade(hair, 0.8))


def _draw_mouth(pen: _Pen, has: dict[str, bool], skin: Color, yaw: float) -> None:
    """The lips follow a parabola that is bent up at the corners by a smile; an open mouth shows teeth."""
    t = np.linspace(-1, 1, 17)
    half, bend = (19.0, -8.5) if has["Smiling"] else (13.5, 1.5)
    x, middle = 89 + yaw + half * t, 151.5 + bend * (t**2 - 0.5)
    lips = (196, 24, 52) if has["Wearing_Lipstick"] else _mix(skin, (0.75, 0.75, 0.75), (25, -8, 0))
    thick, taper = 5.0 if has["Big_Lips"] else 2.6, np.sqrt(1 - t**2 * 0.9)
    gap = (4.4 if has["Mouth_Slightly_Open"] else 0.4) * (1 - t**2)

    def band(upper: np.ndarray, lower: np.ndarray, fill: Color) -> None:
        pen.polygon(np.concatenate([np.stack([x, upper], 1), np.stack([x, lower], 1)[::-1]]), fill)

    band(middle - gap - thick * taper, middle + gap + thick * taper * 1.15, lips)
    band(middle - gap, middle + gap, (70, 18, 24))
    if has["Mouth_Slightly_Open"]:
        band(middle - gap, middle - gap * 0.1, (248, 246, 240))


def _draw_front(pen: _Pen, person: dict[str, Any], has: dict[str, bool], hair: Color, hat: Color, yaw: float) -> None:
    """What lies over the face: fringe, glasses and hat."""
    rx, ry = person["head"]
    if not has["Bald"] and not has["Wearing_Hat"]:
        line = 99 if has["Bangs"] else 82
        angles = np.linspace(np.pi * 1.06, np.pi * 1.94, 25)
        top = np.stack([89 + (rx + 6) * np.cos(angles), 112 + (ry + 5) * np.sin(angles)], 1)
        x = np.linspace(89 + rx, 89 - rx, 13)
        ragged = line + (3.0 * (np.arange(13) % 2) if has["Bangs"] else 9 * ((x - 100 - yaw) / rx) ** 2)
        pen.polygon(np.concatenate([top, np.stack([x, ragged], 1)]), hair)
        shine = np.stack([89 + (rx - 2) * np.cos(angles[6:-9]), 112 + (ry - 1) * np.sin(angles[6:-9])], 1)
        pen.line(shine, 3, _shade(hair, 1.3))
    if has["Eyeglasses"]:
        frame = (22, 22, 28)
        for side in (-1, 1):
            pen.ring(89 + yaw + side * 19.5, 113, 14.5, 11.5, 2.6, frame)
            pen.line([(89 + yaw + side * 34, 111), (89 + side * (rx + 1), 108)], 2.4, frame)
        pen.line([(84 + yaw, 111), (94 + yaw, 111)], 2.6, frame)
    if has["Wearing_Hat"]:
        angles = np.linspace(np.pi, 2 * np.pi, 25)
        crown = np.stack([89 + (rx + 11) * np.cos(angles), 91 + 44 * np.sin(angles)], 1)
        pen.polygon(crown, hat)
        pen.polygon([(89 - rx - 11, 84), (89 + rx + 11, 84), (89 + rx + 11, 92), (89 - rx - 11, 92)], _shade(hat, 0.55))
        pen.ellipse(89 + yaw, 93, rx + 24, 5.5, _shade(hat, 0.8))


def _draw(person: dict[str, Any], has: dict[str, bool], rng: np.random.Generator) -> Image.Image:
    """One face, 178 by 218, with the eyes near (69, 112) and (108, 112) as in the aligned CelebA."""
    light, yaw = float(rng.uniform(0.85, 1.08)), float(rng.normal(0, 2.5))
    background, shirt, hat = (tuple(int(c) for c in rng.integers(40, 225, 3)) for _ in range(3))
    roll, shift = float(rng.normal(0, 0.05)), (float(rng.normal(0, 1.5)), float(rng.normal(0, 1.5)))
    person = person | {"skin": _shade(person["skin"], light)}
    hair, skin = _shade(HAIR[person["hair"]], person["tint"] * light), person["skin"]
    rx, ry = person["head"]
    pen = _Pen(background, roll, shift)
    pen.ellipse(140, 40, 90, 80, _shade(background, 1.12))
    _draw_back(pen, person, has, hair, shirt)
    pen.ellipse(89, 122, rx, ry, _shade(skin, 0.9))
    pen.ellipse(89 + yaw * 0.6 + 1, 121, rx - 2.5, ry - 2.5, skin)
    if has["Bald"]:
        pen.ellipse(82, 84, 12, 6, _shade(skin, 1.12))
    _draw_features(pen, person, has, hair, yaw)
    _draw_mouth(pen, has, skin, yaw)
    _draw_front(pen, person, has, hair, hat, yaw)
    return pen.image.reduce(_SCALE)


def _write_archive(path: Path, images: Iterable[Image.Image]) -> None:
    """Store 000001.jpg, 000002.jpg ... under img_align_celeba/ with fixed times: equal faces are equal bytes."""
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for number, image in enumerate(images, start=1):
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=88)
            info = zipfile.ZipInfo(f"img_align_celeba/{number:06d}.jpg", date_time=(2015, 9, 28, 0, 0, 0))
            info.external_attr = 0o644 << 16
            archive.writestr(info, buffer.getvalue())


def write_faces(folder: str | os.PathLike) -> None:
    """Write img_align_celeba.zip and the official texts of attributes, partition and identities into ``folder``.

    1,050 JPEGs of 178x218 of 210 drawn persons, five images each; persons do not cross the partition (750, 150, 150
    images). The attributes in ``DRAWN`` are true of the drawing, all others are -1. Equal bytes at every call
    (with one version of Pillow).
    """
    folder = Path(folder)
    rng = np.random.Generator(np.random.PCG64(20150928))
    faces: list[Image.Image] = []
    attributes, partition, identities = [f"{sum(IDENTITIES) * IMAGES_EACH}", " ".join(ATTRIBUTES) + " "], [], []
    for identity, part in enumerate(np.repeat(range(3), IDENTITIES), start=1):
        person = _identity(rng)
        for _ in range(IMAGES_EACH):
            has = _attributes(person, rng)
            faces.append(_draw(person, has, rng))
            name = f"{len(faces):06d}.jpg"
            attributes.append(f"{name} " + " ".join(f"{1 if has.get(key) else -1:2d}" for key in ATTRIBUTES))
            partition.append(f"{name} {part}")
            identities.append(f"{name} {identity}")
    _write_archive(folder / "img_align_celeba.zip", faces)
    write_text(folder / "list_attr_celeba.txt", "\n".join(attributes) + "\n")
    write_text(folder / "list_eval_partition.txt", "\n".join(partition) + "\n")
    write_text(folder / "identity_CelebA.txt", "\n".join(identities) + "\n")

"""Scenes drawn from a seed: what is in them is known exactly, so the words are too.

    seed -> layout (objects, places, colours) -> PIL drawing -> Scene (picture and facts)

Coordinates of objects are shares of the content's width and height, radii shares of its
shorter side. Nothing here depends on the machine, but for Pillow's own drawing.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import colorsys
import math
import random
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import words

FONT_DIR = "/usr/share/fonts/truetype/dejavu/"
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono",
         "DejaVuSansMono-Bold", "DejaVuSansCondensed", "DejaVuSansCondensed-Bold")
ASPECTS = ((16 / 9, 50), (4 / 3, 34), (1.0, 10), (3 / 4, 3), (1.5, 3))
LOW, MID, HIGH = (0.19, 0.29), (0.43, 0.57), (0.71, 0.81)  # clean places of an axis
RADII = {"small": (0.075, 0.095), "large": (0.15, 0.195)}


@dataclass
class Thing:
    """One coloured shape. x, y in shares of width and height, r in shares of the shorter side."""
    shape: str
    color: str
    size: str
    x: float = 0.0
    y: float = 0.0
    r: float = 0.0
    turn: float = 0.0
    rgb: tuple = (0, 0, 0)


@dataclass
class Scene:
    """A picture and what is known about it."""
    kind: str                       # shapes, number, plain, or a name of words.PATTERNS
    image: Image.Image = None
    background: str = ""
    things: list = field(default_factory=list)
    number: str = ""
    number_color: str = ""
    digits: list = field(default_factory=list)   # (x, y, digit), shares of width and height
    overlay: bool = False           # a clock or a label is drawn over a corner


def pick_rgb(rng, name):
    """A colour that goes by this name, as 0..255 integers."""
    h, s, v = (rng.uniform(*r) for r in words.HSV[name])
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(h / 360 % 1, s, v))


def luma(rgb):
    return (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]) / 255


def pick_size(rng):
    """Width and height of the content in pixels, as drawn."""
    aspect = rng.choices([a for a, _ in ASPECTS], [w for _, w in ASPECTS])[0]
    side = rng.choice((256, 288, 320, 352, 400, 480))
    return (side, round(side / aspect)) if aspect >= 1 else (round(side * aspect), side)


# Backgrounds ---------------------------------------------------------------------------------

def ramp(rng, size):
    """A linear ramp in a random direction over the picture, -1..1, float32 [h, w]."""
    w, h = size
    a = rng.uniform(0, 2 * math.pi)
    x = np.linspace(-1, 1, w, dtype=np.float32)[None]
    y = np.linspace(-1, 1, h, dtype=np.float32)[:, None]
    return (x * math.cos(a) + y * math.sin(a)) / (abs(math.cos(a)) + abs(math.sin(a)))


def texture(rng, size):
    """Soft blotches, about -1..1, float32 [h, w]."""
    cells = (rng.randint(3, 24), rng.randint(3, 18))
    small = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, cells[::-1], np.uint8)
    soft = Image.fromarray(small).resize(size, Image.BILINEAR)
    return np.asarray(soft, np.float32) / 127.5 - 1


def shade(rng, base, size):
    """A plain colour with a little light, texture or stripes in it."""
    kind = rng.random()
    if kind < 0.45:
        return Image.new("RGB", size, base)
    if kind < 0.70:
        field_ = ramp(rng, size) * rng.uniform(4, 16)
    elif kind < 0.92:
        field_ = texture(rng, size) * rng.uniform(3, 12)
    else:
        field_ = np.sign(np.sin(ramp(rng, size) * rng.uniform(10, 60))) * rng.uniform(2, 7)
    a = np.asarray(base, np.float32) + field_[:, :, None]
    return Image.fromarray(np.clip(a, 0, 255).astype(np.uint8))


def blend(rng, size):
    """A gradient between a colour and black or white: picture, and the colours it takes up."""
    color = rng.choice(("red", "green", "blue", "purple"))
    end = rng.choice(("black", "white"))
    t = ramp(rng, size)[:, :, None] / 2 + 0.5
    a, b = (np.asarray(pick_rgb(rng, c), np.float32) for c in (color, end))
    return Image.fromarray((a * (1 - t) + b * t + 0.5).astype(np.uint8)), {color, end}


def draw_background(rng, name, size):
    """The picture, and the names of the colours no object may have on it."""
    if name == "gradient":
        return blend(rng, size)
    return shade(rng, pick_rgb(rng, name), size), {name}


# Shapes --------------------------------------------------------------------------------------

def outline(shape, cx, cy, r, turn):
    """The corners of a shape around (cx, cy), in pixels; None for a circle."""
    def at(radius, degrees):
        a = math.radians(degrees + turn)
        return (cx + radius * math.sin(a), cy - radius * math.cos(a))
    if shape == "square":
        return [at(r * 1.2, 45 + 90 * i) for i in range(4)]
    if shape == "triangle":
        return [at(r * 1.2, 120 * i) for i in range(3)]
    if shape == "star":
        return [at(r * (1.15 if i % 2 == 0 else 0.47), 36 * i) for i in range(10)]
    if shape == "cross":
        t, m = r * 0.34, r * 1.05
        c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        flat = [(-t, -m), (t, -m), (t, -t), (m, -t), (m, t), (t, t),
                (t, m), (-t, m), (-t, t), (-m, t), (-m, -t), (-t, -t)]
        return [(cx + x * c - y * s, cy + x * s + y * c) for x, y in flat]
    return None


def draw_thing(draw, thing, size):
    """Draw one shape on a picture of this size."""
    w, h = size
    cx, cy, r = thing.x * w, thing.y * h, thing.r * min(w, h)
    points = outline(thing.shape, cx, cy, r, thing.turn)
    if points is None:
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=thing.rgb)
    else:
        draw.polygon(points, fill=thing.rgb)


def pick_counts(rng, groups):
    """How many things each group has: three at most in all."""
    if groups == 1:
        return [rng.choices((1, 2, 3), (38, 32, 30))[0]]
    return list(rng.choice(((1, 1), (1, 1), (2, 1), (1, 2))))


def pick_things(rng, banned, on):
    """One or two groups of equal things, without places yet."""
    colors = [c for c in words.COLORS if c not in banned]
    kinds = []
    groups = rng.choices((1, 2), (52, 48))[0]
    while len(kinds) < groups:
        kind = (rng.choice(words.SHAPES), rng.choice(colors), rng.choice(words.SIZES))
        if kind not in kinds and not (on == "black" and kind[:2] == ("circle", "white")):
            kinds.append(kind)
    return [Thing(*kind) for kind, n in zip(kinds, pick_counts(rng, groups)) for _ in range(n)]


def try_places(rng, things, size):
    """Put every thing at a place of its own; False where no room was found."""
    w, h = size
    m = min(w, h)
    for i, t in enumerate(things):
        for _ in range(30):
            t.r = rng.uniform(*RADII[t.size])
            t.x, t.y = (rng.uniform(*rng.choice((LOW, MID, HIGH))) for _ in range(2))
            if all(math.hypot((t.x - o.x) * w, (t.y - o.y) * h) > (t.r + o.r) * m * 1.25 + 0.05 * m
                   for o in things[:i]):
                break
        else:
            return False
    return True


def draw_shapes(rng):
    """A scene of one to three coloured shapes."""
    size = pick_size(rng)
    background = rng.choice(words.BACKGROUNDS)
    image, banned = draw_background(rng, background, size)
    things = pick_things(rng, banned, background)
    while not try_places(rng, things, size):
        things = pick_things(rng, banned, background)
    draw = ImageDraw.Draw(image)
    for t in things:
        t.rgb, t.turn = pick_rgb(rng, t.color), rng.uniform(-14, 14)
        draw_thing(draw, t, size)
    return Scene("shapes", image, background, things)


# Numbers -------------------------------------------------------------------------------------

_fonts = {}


def font(name, pixels):
    """A DejaVu font, kept once it was opened."""
    if (name, pixels) not in _fonts:
        _fonts[name, pixels] = ImageFont.truetype(FONT_DIR + name + ".ttf", pixels)
    return _fonts[name, pixels]


def pick_number(rng):
    digits = rng.choices((1, 2, 3), (34, 40, 26))[0]
    return str(rng.randint(10 ** (digits - 1) if digits > 1 else 0, 10 ** digits - 1))


def draw_number(rng):
    """A scene of one printed number."""
    size = pick_size(rng)
    w, h = size
    background = rng.choice(words.BACKGROUNDS[:-1])
    image, banned = draw_background(rng, background, size)
    base = luma(np.asarray(image)[h // 2, w // 2])
    while True:
        color = rng.choice(words.COLORS)
        rgb = pick_rgb(rng, color)
        if color not in banned and abs(luma(rgb) - base) > 0.2:
            break
    number, scene = pick_number(rng), Scene("number", image, background)
    f = font(rng.choice(FONTS), round(min(w, h) * rng.uniform(0.38, 0.7)))
    while f.getlength(number) > 0.92 * w:
        f = font(rng.choice(FONTS), round(f.size * 0.85))
    x0, y0, x1, y1 = f.getbbox(number)
    x = rng.uniform(0.03 * w, 0.97 * w - (x1 - x0)) - x0
    y = rng.uniform(0.04 * h, 0.96 * h - (y1 - y0)) - y0
    ImageDraw.Draw(image).text((x, y), number, fill=rgb, font=f)
    for i, digit in enumerate(number):
        middle = (f.getlength(number[:i]) + f.getlength(number[:i + 1])) / 2
        scene.digits.append(((x + middle) / w, (y + (y0 + y1) / 2) / h, int(digit)))
    scene.number, scene.number_color = number, color
    return scene


# Everything ----------------------------------------------------------------------------------

def draw_plain(rng):
    """A picture of nothing but one colour."""
    size = pick_size(rng)
    name = rng.choice(words.BACKGROUNDS[:-1])
    return Scene("plain", shade(rng, pick_rgb(rng, name), size), name)


def take_pattern(rng, cache):
    """A frame of videotestsrc."""
    name = rng.choice(sorted(cache))
    image = Image.fromarray(rng.choice(cache[name]))
    if name.startswith("plain "):
        return Scene("plain", image, name[6:])
    background = "black" if name in ("ball", "bar", "spokes") else ""
    return Scene(name, image, background)


def draw_overlay(rng, scene):
    """Now and then a clock or a label in a corner that holds nothing."""
    if rng.random() > 0.13:
        return
    image = scene.image
    w, h = image.size
    f = font("DejaVuSans", max(9, round(min(w, h) * rng.uniform(0.05, 0.075))))
    text = rng.choice(("%02d:%02d:%02d" % (rng.randrange(24), rng.randrange(60), rng.randrange(60)),
                       "REC", "CAM %d" % rng.randrange(1, 9), "LIVE",
                       "0:00:%02d.%d" % (rng.randrange(60), rng.randrange(10))))
    x0, y0, x1, y1 = f.getbbox(text)
    bw, bh = (x1 - x0) + 6, (y1 - y0) + 6
    left, top = rng.choice((2, w - bw - 2)), rng.choice((2, h - bh - 2))
    if hits(scene, (left / w, top / h, (left + bw) / w, (top + bh) / h), (w, h)):
        return
    draw = ImageDraw.Draw(image)
    dark = rng.random() < 0.8
    draw.rectangle((left, top, left + bw, top + bh), fill=(20,) * 3 if dark else (235,) * 3)
    draw.text((left + 3 - x0, top + 3 - y0), text, font=f, fill=(240,) * 3 if dark else (10,) * 3)
    scene.overlay = True


def hits(scene, box, size):
    """Whether a box (shares) would cover something that the words speak of."""
    if scene.kind in ("ball", "number"):
        return True
    m = min(size)
    return any(box[0] - 1.3 * t.r * m / size[0] < t.x < box[2] + 1.3 * t.r * m / size[0]
               and box[1] - 1.3 * t.r * m / size[1] < t.y < box[3] + 1.3 * t.r * m / size[1]
               for t in scene.things)


KINDS = (("shapes", 58), ("number", 20), ("plain", 4), ("pattern", 18))


def draw(rng, cache, kinds=KINDS):
    """One scene of a random kind, without the marks that cameras and codecs leave."""
    kind = rng.choices([k for k, _ in kinds], [w for _, w in kinds])[0]
    if kind == "pattern":
        scene = take_pattern(rng, cache)
    else:
        scene = {"shapes": draw_shapes, "number": draw_number, "plain": draw_plain}[kind](rng)
    draw_overlay(rng, scene)
    return scene

"""The demo model's small world in words: colours, shapes, sizes, places, test patterns.

    names -> captions and answers (questions.py), names -> colours and outlines (scenes.py)

SPDX-License-Identifier: LGPL-2.1-or-later
"""

SHAPES = ("circle", "square", "triangle", "star", "cross")
SIZES = ("small", "large")
COLORS = ("red", "yellow", "green", "blue", "purple", "white", "black")
BACKGROUNDS = ("black", "white", "gray", "red", "yellow", "green", "blue", "purple", "gradient")

# Hue in degrees, saturation and value: ranges with gaps between them, so that every colour
# that is drawn has one name, also after a change of brightness.
HSV = {
    "red": ((-4, 5), (0.86, 1.0), (0.75, 1.0)),
    "yellow": ((53, 61), (0.82, 1.0), (0.90, 1.0)),
    "green": ((105, 140), (0.75, 1.0), (0.52, 1.0)),
    "blue": ((214, 241), (0.82, 1.0), (0.72, 1.0)),
    "purple": ((275, 296), (0.65, 0.95), (0.50, 0.85)),
    "white": ((0, 360), (0.0, 0.04), (0.93, 1.0)),
    "black": ((0, 360), (0.0, 0.30), (0.0, 0.07)),
    "gray": ((0, 360), (0.0, 0.05), (0.40, 0.58)),
}

# Names of the places of a 3x3 grid, row by row.
PLACES = ("top left", "top", "top right", "left", "center", "right",
          "bottom left", "bottom", "bottom right")

NUMBER_WORDS = ("no", "a", "two", "three")

# One name for each group of videotestsrc patterns that cannot be told apart at 256 pixels:
# name -> (caption, noun for "Is there ...", or None).
PATTERNS = {
    "smpte": ("SMPTE color bars.", "color bars"),
    "bars": ("Plain color bars.", "color bars"),
    "rp219": ("SMPTE RP 219 color bars.", "color bars"),
    "snow": ("Television snow.", "snow"),
    "checkers": ("A red and green checkerboard.", "a checkerboard"),
    "circular": ("A circular pattern.", "a circular pattern"),
    "zone": ("A zone plate.", "a zone plate"),
    "gamut": ("A gamut pattern.", "a gamut pattern"),
    "chroma": ("A color zone plate.", "a zone plate"),
    "ball": ("A white ball on a black background.", "a ball"),
    "bar": ("A white bar on a black background.", "a bar"),
    "pinwheel": ("A black and white pinwheel.", "a pinwheel"),
    "spokes": ("White spokes on a black background.", "spokes"),
    "ramp": ("A gradient from black to white.", "a gradient"),
    "colors": ("A grid of colors.", "a grid of colors"),
}


def plural(noun):
    """The plural of a shape's name."""
    return noun + ("es" if noun.endswith("s") else "s")

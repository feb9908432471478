#!/usr/bin/env python3
"""Write what Pillow makes of pictures that a formula draws, as digests.

    make_vectors.py >pillow.txt

    width height aspect_width aspect_height fit resolution -> canvas, resize(BICUBIC), crop -> SHA-256

The picture is draw()'s, which tests/unit/test_preprocess.c has too. pad: black canvas with the
picture in its middle, resized to a square (llava/mm_utils.py, expand2square()); crop: the shorter
edge to the resolution, then the middle (transformers, CLIPImageProcessor). Pixels that are not square
make the canvas, or the resized picture, longer in one direction. Needs Pillow and NumPy.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import hashlib

import numpy
import PIL
from PIL import Image

SIZES = ((1, 1, 64), (2, 1, 64), (1, 2, 64), (3, 3, 64), (5, 7, 128), (1, 300, 64), (300, 1, 64),
         (64, 64, 64), (65, 64, 64), (63, 64, 64), (128, 128, 64), (129, 128, 64), (320, 180, 64),
         (180, 320, 64), (90, 160, 256), (641, 363, 128), (97, 89, 192), (1000, 30, 64),
         (30, 1000, 64), (1920, 1080, 1024), (1280, 720, 512), (720, 1280, 512), (640, 480, 1024),
         (3840, 2160, 256), (2160, 3840, 256), (4096, 3, 64), (3, 4096, 64), (777, 1333, 320))
ASPECTS = ((720, 576, 16, 15, 256), (720, 480, 8, 9, 512), (100, 100, 2, 1, 128), (64, 64, 1, 3, 64),
           (33, 50, 3, 2, 192), (1440, 1080, 4, 3, 512), (5, 9, 17, 3, 64))


def draw(width, height):
    """A ramp, a chequered pattern with hard edges, and noise."""
    x = numpy.arange(width, dtype=numpy.uint32)[None, :]
    y = numpy.arange(height, dtype=numpy.uint32)[:, None]
    rgb = numpy.empty((height, width, 3), numpy.uint8)
    rgb[..., 0] = x * 255 // max(width - 1, 1)
    rgb[..., 1] = (x // 7 + y // 5) % 2 * 255
    noise = (x * numpy.uint32(73856093)) ^ (y * numpy.uint32(19349663))
    rgb[..., 2] = (noise * numpy.uint32(2654435761)) >> numpy.uint32(24)
    return Image.fromarray(rgb)


def pad(image, aspect_width, aspect_height, side):
    """Black beside the direction that is shorter, then a square."""
    width, height = image.size
    if width * aspect_width < height * aspect_height:
        total = (height * aspect_height + aspect_width // 2) // aspect_width
        canvas = Image.new("RGB", (total, height))
        canvas.paste(image, ((total - width) // 2, 0))
    else:
        total = (width * aspect_width + aspect_height // 2) // aspect_height
        canvas = Image.new("RGB", (width, total))
        canvas.paste(image, (0, (total - height) // 2))
    return canvas.resize((side, side), Image.BICUBIC)


def crop(image, aspect_width, aspect_height, side):
    """The shorter edge to `side`, then the middle."""
    across, down = image.size[0] * aspect_width, image.size[1] * aspect_height
    size = (side * across // down, side) if across > down else (side, side * down // across)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    resized = image.resize(size, Image.BICUBIC)
    return resized.crop((left, top, left + side, top + side))


def stretch(image, _aspect_width, _aspect_height, side):
    """Both edges to `side`."""
    return image.resize((side, side), Image.BICUBIC)


def main():
    """One line a case."""
    print(f"# Made by make_vectors.py with Pillow {PIL.__version__}")
    cases = [(w, h, 1, 1, r) for w, h, r in SIZES] + list(ASPECTS)
    for width, height, aspect_width, aspect_height, side in cases:
        image = draw(width, height)
        for fit in (pad, crop, stretch):
            if fit is crop and max(width, height) > 400 * min(width, height):
                continue  # Pillow would compute all of a line that is hundreds of times as long
            pixels = fit(image, aspect_width, aspect_height, side).tobytes()
            print(width, height, aspect_width, aspect_height, fit.__name__, side,
                  hashlib.sha256(pixels).hexdigest())


if __name__ == "__main__":
    main()

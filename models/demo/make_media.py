#!/usr/bin/env python3
"""The demo video (about 30 s of moving scenes) and a picture that stands in for a photo.

    scenes.Thing in motion -> PIL frames -> appsrc ! vp8enc ! webmmux -> demo.webm
    one scene, tilted, unevenly lit, noisy -> photo.jpg

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import argparse
import math
import os
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

import patterns
import scenes
from scenes import Thing

SIZE, FPS = (640, 360), 20
RED, YELLOW, GREEN, BLUE = (220, 25, 20), (245, 225, 30), (30, 190, 60), (30, 70, 215)
PURPLE, WHITE, BLACK, GRAY = (140, 40, 180), (248, 248, 248), (8, 8, 8), (125, 125, 125)
RGB = {"red": RED, "yellow": YELLOW, "green": GREEN, "blue": BLUE, "purple": PURPLE,
       "white": WHITE, "black": BLACK}


def draw(background, things):
    """Shapes on a plain background, drawn at twice the size and scaled down."""
    big = (SIZE[0] * 2, SIZE[1] * 2)
    image = Image.new("RGB", big, background)
    for t in things:
        t.rgb = RGB[t.color]
        scenes.draw_thing(ImageDraw.Draw(image), t, big)
    return image.resize(SIZE, Image.BICUBIC)


def crossing(t):
    """A circle on its way from the left over the top to the right."""
    x = 0.24 + 0.52 * t
    y = 0.5 - 0.24 * math.sin(math.pi * t)
    return draw(BLUE, [Thing("circle", "red", "large", x, y, 0.17)])


def stars(t):
    """Two small stars that drift, and a large square that sways."""
    things = [Thing("star", "yellow", "small", 0.12 + 0.13 * t,
                    0.25 + 0.5 * i + 0.06 * math.sin(5 * t + i), 0.085, 10 * math.sin(6 * t + i))
              for i in range(2)]
    things.append(Thing("square", "white", "large", 0.72 - 0.1 * t, 0.5, 0.17, 8 * math.sin(4 * t)))
    return draw(GREEN, things)


def number(t):
    """A printed number that drifts."""
    image = Image.new("RGB", SIZE, WHITE)
    place = (120 + 180 * t, 60 + 50 * math.sin(math.pi * t))
    ImageDraw.Draw(image).text(place, "42", font=scenes.font("DejaVuSans-Bold", 180), fill=BLUE)
    return image


def triangles(t):
    """Three small triangles in a row, falling one after the other."""
    return draw(BLACK, [Thing("triangle", "green", "small", 0.22 + 0.28 * i,
                              0.24 + 0.52 * min(1, max(0, 1.6 * t - 0.3 * i)), 0.085)
                        for i in range(3)])


def squares(t):
    """Two large squares change places while a small cross looks on."""
    a = math.pi * t
    things = [Thing("square", "purple", "large", 0.5 + s * 0.3 * math.cos(a),
                    0.5 + s * 0.22 * math.sin(a), 0.16, 10 * math.sin(3 * a)) for s in (-1, 1)]
    if t < 0.5:
        things.append(Thing("cross", "red", "small", 0.12, 0.84, 0.08))
    return draw(YELLOW, things)


def pattern(number_, settings=""):
    """Frames of a videotestsrc pattern, as a function of t."""
    frames = patterns.grab(number_, settings, SIZE, "I420", 0, 12)
    return lambda t: frames[min(11, int(t * 12))]


def story():
    """The scenes in their order, each with its seconds."""
    return [(crossing, 6), (stars, 5), (number, 4), (pattern(0), 3.5), (triangles, 5),
            (pattern(18, "motion=sweep"), 2.5), (squares, 5)]


def frames():
    for scene, seconds in story():
        count = round(seconds * FPS)
        for i in range(count):
            yield scene(i / (count - 1))


def write_video(path):
    """Encode every frame as VP8 in WebM."""
    import gi
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst
    Gst.init(None)
    pipe = Gst.parse_launch(
        f"appsrc name=a format=time caps=video/x-raw,format=RGB,width={SIZE[0]},height={SIZE[1]},"
        f"framerate={FPS}/1 ! videoconvert ! video/x-raw,format=I420 ! vp8enc "
        f"target-bitrate=200000 end-usage=vbr deadline=0 cpu-used=1 threads=1 keyframe-max-dist=60 "
        f"! webmmux ! filesink location={path}")
    source = pipe.get_by_name("a")
    pipe.set_state(Gst.State.PLAYING)
    for i, frame in enumerate(frames()):
        buffer = Gst.Buffer.new_wrapped(frame.tobytes())
        buffer.pts, buffer.duration = i * Gst.SECOND // FPS, Gst.SECOND // FPS
        source.emit("push-buffer", buffer)
    source.emit("end-of-stream")
    message = pipe.get_bus().timed_pop_filtered(
        Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    pipe.set_state(Gst.State.NULL)
    if message.type == Gst.MessageType.ERROR:
        raise SystemExit(message.parse_error()[1])


def write_photo(path):
    """Two blue circles and a yellow star on a gray wall, as a cheap camera would see them."""
    rng, size = random.Random("photo"), (1280, 960)
    image = scenes.shade(rng, GRAY, size)
    for t in (Thing("circle", "blue", "large", 0.27, 0.4, 0.16, 0, BLUE),
              Thing("circle", "blue", "large", 0.72, 0.64, 0.17, 0, BLUE),
              Thing("star", "yellow", "small", 0.7, 0.2, 0.085, 8, YELLOW)):
        scenes.draw_thing(ImageDraw.Draw(image), t, size)
    image = image.transform(size, Image.PERSPECTIVE, (1.02, 0.03, -20, 0.01, 1.03, -25, 1e-5, 3e-5),
                            Image.BICUBIC, fillcolor=(118, 118, 118))
    image = image.filter(ImageFilter.GaussianBlur(1.5))
    light = 1 + 0.14 * scenes.ramp(rng, size)[:, :, None]
    g = np.random.default_rng(1).standard_normal((960, 1280, 3), np.float32) * 5
    pixels = np.clip(np.asarray(image, np.float32) * light + g, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=72)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("output", help="directory, usually pipelines/media")
    a = ap.parse_args()
    os.makedirs(a.output, exist_ok=True)
    write_photo(os.path.join(a.output, "photo.jpg"))
    write_video(os.path.join(a.output, "demo.webm"))


if __name__ == "__main__":
    main()

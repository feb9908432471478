#!/usr/bin/env python3
"""Frames of GStreamer's videotestsrc, every pattern at many sizes and moments, in a cache file.

    videotestsrc ! videoconvert ! appsink -> Catmull-Rom to 256 pixels -> patterns.npz

Training and held-out frames come from different sizes and different moments.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import argparse
import random

import numpy as np
from PIL import Image

# videotestsrc's number, the settings to add, our name for it.
SOURCES = [
    (0, "", "smpte"), (13, "", "bars"), (19, "", "bars"), (25, "", "rp219"), (1, "", "snow"),
    (2, "", "plain black"), (3, "", "plain white"), (4, "", "plain red"),
    (5, "", "plain green"), (6, "", "plain blue"),
    (7, "", "checkers"), (8, "", "checkers"), (9, "", "checkers"), (10, "", "checkers"),
    (11, "", "circular"), (15, "", "gamut"),
    (14, "kx2={k} ky2={k} kt=1", "zone"), (14, "kx2=20 ky2=20 kt=1", "zone"),
    (16, "kx2={k} ky2={k} kt=1", "chroma"), (16, "kx2=20 ky2=20 kt=1", "chroma"),
    (18, "motion=wavy", "ball"), (18, "motion=sweep", "ball"), (18, "motion=hsweep", "ball"),
    (20, "", "bar"), (21, "", "pinwheel"), (22, "", "spokes"), (23, "", "ramp"),
    (24, "", "colors"),
]
# Patterns that stay themselves when they scroll sideways.
SCROLLS = {"bars", "checkers", "bar", "pinwheel", "spokes"}
SIZES = {
    "train": [(320, 240), (640, 480), (640, 360), (1280, 720), (480, 360), (352, 288),
              (854, 480), (256, 256), (320, 180), (800, 600)],
    "heldout": [(400, 300), (480, 270), (720, 576), (960, 540)],
}
FORMATS = ("I420", "RGB", "NV12", "YUY2")
SIDE = 256


def shrink(frame, side=SIDE):
    """Scale a picture so that its longer side is `side`, as the engine's letterbox does."""
    scale = side / max(frame.size)
    size = tuple(max(1, round(v * scale)) for v in frame.size)
    return frame.resize(size, Image.BICUBIC)


def grab(number, settings, size, fmt, skip, count):
    """Render `count` frames, the first after `skip` others, as PIL pictures."""
    import gi
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst
    Gst.init(None)
    pipe = Gst.parse_launch(
        f"videotestsrc num-buffers={skip + count * 7} pattern={number} {settings} ! "
        f"video/x-raw,format={fmt},width={size[0]},height={size[1]} ! videoconvert ! "
        "video/x-raw,format=RGB ! appsink name=s sync=false")
    sink = pipe.get_by_name("s")
    pipe.set_state(Gst.State.PLAYING)
    frames = []
    for i in range(skip + count * 7):
        sample = sink.emit("pull-sample")
        if i < skip or (i - skip) % 7:
            continue
        ok, mapped = sample.get_buffer().map(Gst.MapFlags.READ)
        stride = len(mapped.data) // size[1]
        rows = np.frombuffer(mapped.data, np.uint8).reshape(size[1], stride)
        frames.append(Image.fromarray(rows[:, :size[0] * 3].reshape(size[1], size[0], 3).copy()))
        sample.get_buffer().unmap(mapped)
    pipe.set_state(Gst.State.NULL)
    return frames


def make(split, per_size=3):
    """All frames of one split: lists of names and of uint8 [h, w, 3] arrays."""
    rng = random.Random("patterns " + split)
    names, arrays = [], []
    for number, settings, name in SOURCES:
        for size in SIZES[split]:
            extra = settings.format(k=rng.choice([8, 12, 16, 24, 30]))
            if name in SCROLLS and rng.random() < 0.4:
                extra += f" horizontal-speed={rng.choice([1, 3, -2])}"
            skip = rng.randrange(120 if name in ("ball", "zone", "chroma") else 40)
            for frame in grab(number, extra, size, rng.choice(FORMATS), skip, per_size):
                names.append(name)
                arrays.append(np.asarray(shrink(frame)))
    return names, arrays


def save(path, per_size=3):
    """Write both splits to an .npz file."""
    out = {}
    for split in SIZES:
        names, arrays = make(split, per_size)
        out[split + "_names"] = np.array(names)
        out[split + "_shapes"] = np.array([a.shape[:2] for a in arrays])
        out[split + "_data"] = np.concatenate([a.ravel() for a in arrays])
    np.savez(path, **out)


def load(path, split):
    """Read one split back: {name: [uint8 [h, w, 3], ...]}, plain colours among the names."""
    with np.load(path) as f:
        names, shapes, data = (f[split + s] for s in ("_names", "_shapes", "_data"))
    out, at = {}, 0
    for name, (h, w) in zip(names, shapes):
        out.setdefault(str(name), []).append(data[at:at + h * w * 3].reshape(h, w, 3))
        at += h * w * 3
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("output", help="the .npz file to write")
    ap.add_argument("--per-size", type=int, default=3, help="frames a pattern and size")
    a = ap.parse_args()
    save(a.output, a.per_size)


if __name__ == "__main__":
    main()

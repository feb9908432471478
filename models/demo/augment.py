"""What happens to a picture between its making and the model: scaling, codecs, noise, letterbox.

    Scene.image -> light -> codec -> scaled to 256 -> noise -> black square, uint8 [256, 256, 3]

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import io

import numpy as np
from PIL import Image

import scenes

SIDE = 256


def jpeg(image, quality):
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(data).convert("RGB")


def chroma420(image):
    """To 4:2:0 and back, full range."""
    y, cb, cr = image.convert("YCbCr").split()
    half = (max(1, image.width // 2), max(1, image.height // 2))
    cb, cr = (c.resize(half, Image.BOX).resize(image.size, Image.BILINEAR) for c in (cb, cr))
    return Image.merge("YCbCr", (y, cb, cr)).convert("RGB")


def codec(rng, image):
    kind = rng.random()
    if kind < 0.35:
        return jpeg(image, rng.randint(50, 95))
    if kind < 0.65:
        return chroma420(image)
    return image


def light(rng, image):
    """Brightness, contrast (as wrong video ranges make it) and an uneven light."""
    if rng.random() < 0.45:
        return image
    gain, lift = rng.uniform(0.88, 1.1), rng.uniform(-6, 6)
    if rng.random() < 0.15:
        gain, lift = 219 / 255, 16
    if rng.random() < 0.35:
        field = scenes.ramp(rng, image.size)[:, :, None] * rng.uniform(0.02, 0.12) + gain
        a = np.asarray(image, np.float32) * field + lift
        return Image.fromarray(np.clip(a, 0, 255).astype(np.uint8))
    table = [min(255, max(0, round(v * gain + lift))) for v in range(256)]
    return image.point(table * 3)


def noise(rng, pixels):
    """Sensor noise on uint8 [h, w, 3], grey or coloured."""
    if rng.random() < 0.5:
        return pixels
    g = np.random.default_rng(rng.getrandbits(32))
    shape = pixels.shape if rng.random() < 0.6 else pixels.shape[:2] + (1,)
    n = g.standard_normal(shape, np.float32) * rng.uniform(1, 8)
    return np.clip(pixels + n, 0, 255).astype(np.uint8)


def wear(rng, image):
    """Light, noise and codec at the picture's own size, no letterbox."""
    image = light(rng, image)
    image = Image.fromarray(noise(rng, np.asarray(image)))
    return codec(rng, image)


def letterbox(rng, image):
    """The content's place in the square: left, top, width, height. A few have bars of their own."""
    w, h = image.size
    side = SIDE
    if w / h < 1.4 and w >= h and rng.random() < 0.08:
        side = SIDE * 9 / 16 * w / h       # 4:3 inside a 16:9 video
    scale = side / max(w, h)
    cw, ch = max(1, round(w * scale)), max(1, round(h * scale))
    return (SIDE - cw) // 2, (SIDE - ch) // 2, cw, ch


def arrive(rng, image):
    """The model's input and the content's box in it."""
    box = letterbox(rng, image)
    image = light(rng, image)
    early = rng.random() < 0.3
    if early:
        image = codec(rng, image)
    if image.size != box[2:]:
        image = image.resize(box[2:], Image.BICUBIC)
    if not early:
        image = codec(rng, image)
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    x, y, w, h = box
    square[y:y + h, x:x + w] = noise(rng, np.asarray(image))
    return square, box

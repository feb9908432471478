#!/usr/bin/env python3
"""Held-out pictures with their true answers, as files for the tests of the C engine.

    held-out seeds -> pictures as a camera or codec would leave them -> NAME.png / NAME.jpg
    and expected.jsonl: {"image", "prompt", "answer", "kind"}

The seeds follow each other; no picture is left out for what a model says to it. The pictures keep
their own size and shape: letterbox and scaling are the engine's work.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import argparse
import json
import os

import augment
import data
import patterns
import questions
import scenes


def picture(index, cache):
    """The worn picture of one seed, its scene and the generator to go on with."""
    rng = data.rng_for("heldout files", index)
    scene = scenes.draw(rng, cache)
    return augment.wear(rng, scene.image), scene, rng


def write_picture(image, path):
    """PNG where that is small, otherwise JPEG; returns the file's name."""
    image.save(path + ".png", optimize=True)
    if os.path.getsize(path + ".png") < 24000:
        return os.path.basename(path) + ".png"
    os.remove(path + ".png")
    image.save(path + ".jpg", quality=85)
    return os.path.basename(path) + ".jpg"


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("patterns", help="the patterns' .npz file")
    ap.add_argument("output", help="directory, usually tests/data/demo")
    ap.add_argument("--count", type=int, default=56, help="pictures")
    ap.add_argument("--questions", type=int, default=3, help="questions a picture")
    a = ap.parse_args()
    os.makedirs(a.output, exist_ok=True)
    cache = patterns.load(a.patterns, "heldout")
    with open(os.path.join(a.output, "expected.jsonl"), "w", encoding="utf-8") as out:
        for i in range(a.count):
            image, scene, rng = picture(i, cache)
            name = write_picture(image, os.path.join(a.output, f"scene{i:02}"))
            for prompt, answer, kind in questions.conversation(rng, scene, a.questions):
                line = {"image": name, "prompt": prompt, "answer": answer, "kind": kind}
                out.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Exact-match scores of an exported checkpoint on held-out scenes, kind by kind.

    held-out seeds -> pictures, true answers -> plain.Plain -> share of answers equal to the letter

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import argparse
import json
import os
from collections import defaultdict

import numpy as np
import torch

import data
import patterns
import plain


def items(cache, first, count, questions):
    """Held-out samples: (picture, [(prompt, answer, kind)], scene)."""
    for i in range(first, first + count):
        picture, conversation, scene, _ = data.sample("heldout", i, cache, questions)
        yield picture, conversation, scene


def group(kind, scene):
    """What a score is counted under."""
    if kind == "describe":
        return "describe " + (scene.kind if scene.kind in ("shapes", "number", "plain")
                              else "pattern")
    return {"pattern": "is there"}.get(kind, kind)


def evaluate(model, samples, chunk=32):
    """{group: [right, asked]} and the wrong answers."""
    scores, wrong, samples = defaultdict(lambda: [0, 0]), [], list(samples)
    for at in range(0, len(samples), chunk):
        part = samples[at:at + chunk]
        rows = model.see(np.stack([s[0] for s in part]))
        asked = [(i, *item) for i, s in enumerate(part) for item in s[1]]
        texts = model.answer(rows[[a[0] for a in asked]], [a[1] for a in asked])
        for (i, prompt, answer, kind), text in zip(asked, texts):
            names = (group(kind, part[i][2]), "describe" if kind == "describe" else "questions")
            for name in set(names):
                scores[name][0] += text == answer
                scores[name][1] += 1
            if text != answer:
                wrong.append((at + i, prompt, answer, text))
    return scores, wrong


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("patterns", help="the patterns' .npz file")
    ap.add_argument("--model", default=here)
    ap.add_argument("--first", type=int, default=0, help="first held-out seed")
    ap.add_argument("--count", type=int, default=400, help="pictures")
    ap.add_argument("--questions", type=int, default=4, help="questions a picture, beside describe")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--json", help="file to write the scores to")
    ap.add_argument("--wrong", type=int, default=0, help="wrong answers to print")
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    cache = patterns.load(a.patterns, "heldout")
    with torch.no_grad():
        scores, wrong = evaluate(plain.Plain(a.model), items(cache, a.first, a.count, a.questions))
    for name in sorted(scores):
        right, asked = scores[name]
        print(f"{name:20} {right:5} of {asked:5}  {100 * right / asked:5.1f} %")
    for line in wrong[:a.wrong]:
        print(*line, sep=" | ")
    if a.json:
        with open(a.json, "w", encoding="utf-8") as f:
            json.dump({k: {"right": r, "asked": n} for k, (r, n) in scores.items()}, f, indent=1)


if __name__ == "__main__":
    main()

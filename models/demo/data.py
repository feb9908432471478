"""Training samples: a picture, its aux targets and several conversations packed in one row.

    seed -> scene -> picture + [prefix | image | question 1, answer 1 | question 2, answer 2 | ...]

All questions share the prefix and the image: question k sees them and itself only, its positions
go on from the image's end, so that each is what the engine will see.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import random

import numpy as np

import augment
import questions
import scenes
import words

ROWS = 16                      # image rows at 256 pixels
GRIDS = (16, 8)                # cells a side of the auxiliary targets
# Classes of a cell: shape, colour, size, digit; and for the image rows also the place's name, how
# many equal things there are, and which of a number's digits it is.
AUX_SIZES = (len(words.SHAPES) + 1, len(words.COLORS) + 1, len(words.SIZES) + 1, 11)
MORE_SIZES = (len(words.PLACES) + 1, 6, 4)
WHOLE = ["shapes", "number", "plain", *words.PATTERNS]
AUX = {"cell": sum(AUX_SIZES), "more": sum(MORE_SIZES), "whole": len(WHOLE) + len(words.BACKGROUNDS)}


def rng_for(split, index):
    """Seeds of training and of held-out scenes can never be the same."""
    return random.Random(f"fastvlm demo {split} {index}")


def cell_targets(scene, box, grid):
    """int [grid, grid, 7]: AUX_SIZES' and MORE_SIZES' classes of each cell (0: nothing).

    A thing is marked in its centre's cell and in every cell whose centre it surely covers.
    """
    cells = np.zeros((grid, grid, 7), np.int64)
    x, y, w, h = box
    pitch = augment.SIDE / grid
    middle = (np.arange(grid) + 0.5) * pitch
    equal = dict(questions.groups_of(scene.things))
    for t in scene.things:
        cx, cy, reach = x + t.x * w, y + t.y * h, 0.55 * t.r * min(w, h)
        on = (middle[None] - cx) ** 2 + (middle[:, None] - cy) ** 2 < reach ** 2
        on[int(cy / pitch), int(cx / pitch)] = True
        cells[on, :3] = (words.SHAPES.index(t.shape) + 1, words.COLORS.index(t.color) + 1,
                         words.SIZES.index(t.size) + 1)
        place = questions.place_of(t)
        cells[on, 4:6] = (words.PLACES.index(place) + 1 if place else 0,
                          equal[t.shape, t.color, t.size])
    for i, (u, v, digit) in enumerate(scene.digits):
        cell = cells[int((y + v * h) / pitch), int((x + u * w) / pitch)]
        cell[1] = words.COLORS.index(scene.number_color) + 1
        cell[3::3] = digit + 1, i + 1
    return cells


def whole_targets(scene):
    """The labels of the whole picture: its kind and its background (-1: none)."""
    known = scene.background in words.BACKGROUNDS
    return WHOLE.index(scene.kind), words.BACKGROUNDS.index(scene.background) if known else -1


def sample(split, index, cache, count, kinds=scenes.KINDS):
    """Picture uint8 [256,256,3], conversation, scene, box of one seed."""
    rng = rng_for(split, index)
    scene = scenes.draw(rng, cache, kinds)
    picture, box = augment.arrive(rng, scene.image)
    return picture, questions.conversation(rng, scene, count), scene, box


def pack(tokenizer, conversation):
    """One row: ids, positions, segment of each token, target ids (-1: none), weights."""
    prefix = tokenizer.prefix()
    start = len(prefix) + ROWS
    ids, segment = prefix + [0] * ROWS, [0] * start
    positions, target, weight = list(range(start)), [-1] * start, [0.0] * start
    end = tokenizer.added["<|im_end|>"]
    for k, (prompt, answer, kind) in enumerate(conversation):
        ask, say = tokenizer.suffix(prompt), tokenizer.encode(answer) + [end]
        ids += ask + say[:-1]
        target += [-1] * (len(ask) - 1) + say
        share = 1.0 if kind == "describe" else 2.0
        weight += [0.0] * (len(ask) - 1) + [share] * len(say)
        n = len(ask) + len(say) - 1
        segment += [k + 1] * n
        positions += range(start, start + n)
    return ids, positions, segment, target, weight


def collate(rows):
    """Pad packed rows to one length: int64 [B,T] x4, float32 [B,T]."""
    longest = -(-max(len(r[0]) for r in rows) // 8) * 8
    fill = (0, 0, -1, -1, 0.0)
    kinds = (np.int64, np.int64, np.int64, np.int64, np.float32)
    return [np.array([r[i] + [fill[i]] * (longest - len(r[i])) for r in rows], kinds[i])
            for i in range(5)]


def batch(split, first, size, cache, tokenizer, count, kinds=scenes.KINDS):
    """Arrays of one batch: pictures, the packed rows' five, whole labels, cells of each grid."""
    pictures, rows, whole, cells = [], [], [], [[] for _ in GRIDS]
    for i in range(first, first + size):
        picture, conversation, scene, box = sample(split, i, cache, count, kinds)
        pictures.append(picture)
        rows.append(pack(tokenizer, conversation))
        whole.append(whole_targets(scene))
        for grid, out in zip(GRIDS, cells):
            out.append(cell_targets(scene, box, grid))
    return [np.stack(pictures), *collate(rows), np.array(whole, np.int64), *map(np.stack, cells)]

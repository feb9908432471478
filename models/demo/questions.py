"""Captions, questions and their answers, from what is known about a scene.

    Scene -> describe() -> the one caption;  Scene, rng -> ask() -> (prompt, answer, kind)

A question is asked only where the picture settles its answer.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
from collections import Counter

import words

DESCRIBE = ("Describe the image.", "Describe the image in one short sentence.",
            "Describe the image in English.", "What is in the picture?", "What is in the image?",
            "Describe the picture.", "What do you see?", "Describe what you see.",
            "Describe the image in English. Output should be brief, about 15 words or less.",
            "Describe this image.", "What is this?", "Describe the scene.")
HOW_MANY = ("How many {} are there?", "How many {} are in the picture?", "How many {} do you see?",
            "How many {}?", "How many {} are in the image?")
IS_THERE = ("Is there {}?", "Is there {} in the picture?", "Do you see {}?",
            "Is there {} in the image?")
ARE_THERE = ("Are there {}?", "Are there {} in the picture?", "Do you see {}?",
             "Are there {} in the image?")
WHAT_AT = ("What is at the {}?", "What do you see at the {}?", "What is at the {} of the picture?",
           "What is at the {} of the image?")
SAYS = ("What does it say?", "What does the text say?", "What number is this?", "Read the text.",
        "What is the number?", "Which number do you see?")
BACKGROUND = ("What color is the background?", "What is the color of the background?")


def a(noun):
    """The noun with its article."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


# Captions ------------------------------------------------------------------------------------

def place_of(thing):
    """The name of the place where a thing is, or None between two places."""
    row, column = (zone(v) for v in (thing.y, thing.x))
    return None if row is None or column is None else words.PLACES[row * 3 + column]


def zone(v):
    if v < 0.31:
        return 0
    if v > 0.69:
        return 2
    return 1 if 0.41 < v < 0.59 else None


def groups_of(things):
    """Equal things together: [((shape, color, size), count)], most first, then large first."""
    counts = Counter((t.shape, t.color, t.size) for t in things)
    return sorted(counts.items(), key=lambda g: (
        -g[1], -words.SIZES.index(g[0][2]), words.COLORS.index(g[0][1]),
        words.SHAPES.index(g[0][0])))


def group_words(kind, count):
    shape, color, size = kind
    noun = shape if count == 1 else words.plural(shape)
    return f"{words.NUMBER_WORDS[count]} {size} {color} {noun}"


def describe_shapes(scene):
    parts = [group_words(*g) for g in groups_of(scene.things)]
    text = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    where = f"on {a(scene.background)} background."
    if len(scene.things) == 1 and place_of(scene.things[0]):
        return f"{text} at the {place_of(scene.things[0])}, {where}".capitalize()
    return f"{text} {where}".capitalize()


def describe(scene):
    """The one caption of a scene."""
    if scene.kind == "shapes":
        return describe_shapes(scene)
    if scene.kind == "number":
        return (f"The number {scene.number} in {scene.number_color} "
                f"on {a(scene.background)} background.")
    if scene.kind == "plain":
        return f"A plain {scene.background} picture."
    return words.PATTERNS[scene.kind][0]


# Questions -----------------------------------------------------------------------------------

def matches(thing, spec):
    shape, color, size = spec
    return (shape in (None, thing.shape) and color in (None, thing.color)
            and size in (None, thing.size))


def count(scene, spec):
    return sum(matches(t, spec) for t in scene.things)


def blur_spec(rng, spec):
    """Forget some of a spec's words: (shape, color, size), None where unsaid."""
    shape, color, size = spec
    r = rng.random()
    if r < 0.35:
        return shape, color, None
    if r < 0.60:
        return shape, None, None
    if r < 0.75:
        return shape, None, size
    if r < 0.88:
        return None, color, None
    return shape, color, size


def random_kind(rng):
    return rng.choice(words.SHAPES), rng.choice(words.COLORS), rng.choice(words.SIZES)


def near_miss(rng, scene):
    """A kind like one in the scene, with one word changed; or any kind."""
    if not scene.things or rng.random() < 0.3:
        return random_kind(rng)
    t = rng.choice(scene.things)
    kind, other = [t.shape, t.color, t.size], random_kind(rng)
    i = rng.choice((0, 1, 0, 1, 2))
    kind[i] = other[i]
    return tuple(kind)


def noun_of(spec, many):
    shape, color, size = spec
    noun = shape or "shape"
    return " ".join(w for w in (size, color, words.plural(noun) if many else noun) if w)


def ask_how_many(rng, scene):
    if scene.kind == "shapes" and rng.random() < 0.2:
        spec = (None, None, None)
    elif scene.things and rng.random() < 0.75:
        t = rng.choice(scene.things)
        spec = blur_spec(rng, (t.shape, t.color, t.size))
    else:
        spec = blur_spec(rng, near_miss(rng, scene))
    return rng.choice(HOW_MANY).format(noun_of(spec, True)), str(count(scene, spec))


def ask_is_there(rng, scene):
    want = rng.random() < 0.5
    for _ in range(12):
        if want and scene.things:
            t = rng.choice(scene.things)
            spec = blur_spec(rng, (t.shape, t.color, t.size))
        else:
            spec = blur_spec(rng, near_miss(rng, scene))
        if (count(scene, spec) > 0) == want or not scene.things:
            break
    prompt = rng.choice(IS_THERE).format(a(noun_of(spec, False)))
    return prompt, "yes" if count(scene, spec) else "no"


def ask_pattern(rng, scene):
    """Is there a (test pattern's noun, or a number)?"""
    own = words.PATTERNS[scene.kind][1] if scene.kind in words.PATTERNS else None
    own = "a number" if scene.kind == "number" else own
    nouns = sorted({n for _, n in words.PATTERNS.values()} | {"a number"})
    noun = own if own and rng.random() < 0.5 else rng.choice(nouns)
    if noun in unclear(scene):
        noun = own or "a number"
    forms = ARE_THERE if noun in ("color bars", "spokes") else IS_THERE
    return rng.choice(forms).format(noun), "yes" if noun == own else "no"


def unclear(scene):
    """Nouns that could or could not be said of a scene."""
    if scene.kind == "shapes":
        return {"a ball", "a gradient"}
    return {"circular": {"a zone plate"}, "zone": {"a circular pattern"},
            "chroma": {"a circular pattern"}, "spokes": {"a pinwheel"},
            "pinwheel": {"spokes"}, "gamut": {"color bars"},
            "colors": {"a gradient", "a checkerboard"},
            "rp219": {"a gradient"}, "smpte": {"snow"}}.get(scene.kind, set())


def spread(v):
    """The places of an axis that a thing at v may be said to be at."""
    return {i for i, (lo, hi) in enumerate(((0, 0.41), (0.31, 0.69), (0.59, 1))) if lo < v < hi}


def thing_at(scene, place):
    """The thing at a place, None for nothing there, False where it is unclear."""
    row, column = divmod(words.PLACES.index(place), 3)
    there = [t for t in scene.things if row in spread(t.y) and column in spread(t.x)]
    if not there:
        cx, cy = (column * 2 + 1) / 6, (row * 2 + 1) / 6
        free = all(abs(t.x - cx) > 0.17 + 0.5 * t.r or abs(t.y - cy) > 0.17 + 0.5 * t.r
                   for t in scene.things)
        return None if free else False
    return there[0] if len(there) == 1 and place_of(there[0]) == place else False


def ask_what_at(rng, scene):
    """What is at a place; None where no place is clear."""
    clear = {p: thing_at(scene, p) for p in words.PLACES}
    full = [p for p in words.PLACES if clear[p]]
    empty = [p for p in words.PLACES if clear[p] is None]
    if full and (not empty or rng.random() < 0.5):
        place = rng.choice(full)
    elif empty:
        place = rng.choice(empty)
    else:
        return None
    t = clear[place]
    answer = a(f"{t.size} {t.color} {t.shape}") if t else "nothing"
    return rng.choice(WHAT_AT).format(place), answer


def ask_says(rng, scene):
    if scene.overlay and scene.kind != "number":
        return None
    return rng.choice(SAYS), scene.number or "nothing"


def ask_background(rng, scene):
    if scene.background in ("", "gradient"):
        return None
    return rng.choice(BACKGROUND), scene.background


ASK = {"how many": ask_how_many, "is there": ask_is_there, "pattern": ask_pattern,
       "what is at": ask_what_at, "what does it say": ask_says, "background": ask_background}
# How often each question comes up, by kind of scene.
SHARES = {
    "shapes": {"how many": 32, "is there": 22, "what is at": 38, "pattern": 2,
               "what does it say": 3, "background": 3},
    "number": {"how many": 5, "is there": 5, "pattern": 15, "what does it say": 65,
               "background": 10},
    "plain": {"how many": 20, "is there": 20, "what is at": 20, "pattern": 20,
              "what does it say": 20},
    "pattern": {"pattern": 70, "what does it say": 30},
}
NO_SHAPES = ("snow", "smpte", "bars", "rp219", "ramp")


def ask(rng, scene, name=None):
    """One question about a scene: (prompt, answer, its kind)."""
    shares = SHARES.get(scene.kind, SHARES["pattern"])
    while True:
        kind = name or rng.choices(list(shares), list(shares.values()))[0]
        pair = ASK[kind](rng, scene)
        if pair:
            return loosen(rng, pair[0]), pair[1], kind
        if name:
            return None


def loosen(rng, prompt):
    """Now and then a prompt as people type it: lower case, no question mark."""
    r = rng.random()
    if r < 0.05:
        return prompt[0].lower() + prompt[1:]
    if r < 0.10:
        return prompt.rstrip("?.")
    return prompt


def describe_prompt(rng):
    """A wording of "describe"; the element's default more often than the others."""
    prompt = DESCRIBE[0] if rng.random() < 0.3 else rng.choice(DESCRIBE)
    return loosen(rng, prompt)


def conversation(rng, scene, questions):
    """A describe prompt and some questions, no prompt twice: [(prompt, answer, kind)]."""
    out = [(describe_prompt(rng), describe(scene), "describe")]
    for _ in range(questions * 3):
        item = ask(rng, scene)
        if len(out) <= questions and item[0] not in [o[0] for o in out]:
            out.append(item)
    return out

#!/usr/bin/python3
"""An independent Qwen2 tokenizer in plain Python, and what the C tests take from it.

    corpus -> train -> tiny/{vocab.json,merges.txt,added_tokens.json,tokenizer_config.json}
    texts -> encode -> tiny/vectors.jsonl, tiny/prompts.jsonl

It follows tokenization_qwen2.py of Hugging Face transformers step by step (its bpe() included, which
is quadratic) and shares no code with the engine. Needs Debian's python3-regex.

    make_vectors.py                     writes tiny/ again
    make_vectors.py check DIR JSONL     compares {"text", "ids"} lines with the tokenizer in DIR
    make_vectors.py fuzz DIR N SEED     prints N random lines {"text", "ids", "special"}

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import collections
import json
import os
import random
import sys
import unicodedata

import regex

EXPRESSION = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
              r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
HERE = os.path.dirname(os.path.abspath(__file__))


def byte_alphabet():
    """GPT-2's bytes_to_unicode()."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1),
            *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in kept]
    return {**{b: chr(b) for b in kept}, **{b: chr(256 + i) for i, b in enumerate(others)}}


ALPHABET = byte_alphabet()


class Tokenizer:
    def __init__(self, path):
        def read(name):
            with open(os.path.join(path, name), encoding="utf-8") as file:
                return file.read()
        self.vocab = json.loads(read("vocab.json"))
        lines = [line.strip() for line in read("merges.txt").split("\n")]
        if lines[0].startswith("#version:"):
            lines = lines[1:]
        self.ranks = {tuple(line.split()): i for i, line in enumerate(l for l in lines if l)}
        self.added = dict(json.loads(read("added_tokens.json")))
        decoder = json.loads(read("tokenizer_config.json")).get("added_tokens_decoder", {})
        self.added.update({entry["content"]: int(key) for key, entry in decoder.items()})
        names = sorted(self.added, key=len, reverse=True)
        self.splitter = regex.compile("|".join(regex.escape(name) for name in names))
        self.words = regex.compile(EXPRESSION)

    def bpe(self, word):
        parts = list(word)
        while len(parts) > 1:
            best = min(zip(parts, parts[1:]), key=lambda p: self.ranks.get(p, float("inf")))
            if best not in self.ranks:
                break
            merged, i = [], 0
            while i < len(parts):
                if i + 1 < len(parts) and (parts[i], parts[i + 1]) == best:
                    merged.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            parts = merged
        return parts

    def encode_plain(self, text):
        ids = []
        for word in self.words.findall(unicodedata.normalize("NFC", text)):
            spelled = "".join(ALPHABET[b] for b in word.encode("utf-8"))
            ids += [self.vocab[part] for part in self.bpe(spelled)]
        return ids

    def encode(self, text, special=True):
        if not special:
            return self.encode_plain(text)
        ids, at = [], 0
        for match in self.splitter.finditer(text):
            ids += self.encode_plain(text[at:match.start()]) + [self.added[match.group()]]
            at = match.end()
        return ids + self.encode_plain(text[at:])


# --- the small tokenizer ---

CORPUS = """
Describe the image. Describe the image in one short sentence. What is in the picture? How many
circles are there? Is there a red square at the top left? yes no You are a helpful assistant.
system user assistant I'll see what they've got; it's fine, isn't it? We're here. Don't!
naïve café Ångström “quotes” — dash… Привет, как дела? Что на картинке? 你好，世界！这是一个测试。
日本語のテキスト 한국어 텍스트 مرحبا بالعالم हिन्दी पाठ emoji 🙂👩‍👩‍👧‍👦🇫🇷
int main(void) { return 0; }\n\n\tif (a < b)\r\n\r\n        x = 1234567890;   \n
"""
N_MERGES = 220
# The first merge needs the second's result: what a heap that forgets the reference's rounds gets
# wrong.
TRAPS = [("qx", "q"), ("q", "x")]


def train():
    """Merges of CORPUS, most frequent pair first, ties in code point order."""
    words = collections.Counter()
    for word in regex.findall(EXPRESSION, unicodedata.normalize("NFC", CORPUS)):
        words[tuple(ALPHABET[b] for b in word.encode("utf-8"))] += 1
    merges = []
    while len(merges) < N_MERGES:
        pairs = collections.Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        renewed = collections.Counter()
        for word, n in words.items():
            renewed[merge_all(word, best)] += n
        words = renewed
    return TRAPS + merges


def merge_all(word, pair):
    out, i = [], 0
    while i < len(word):
        if word[i:i + 2] == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def write(path, text):
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write_tokenizer(path):
    merges = train()
    pieces = list(dict.fromkeys([*ALPHABET.values(), *(a + b for a, b in merges)]))
    random.Random(1).shuffle(pieces)  # ids say nothing about bytes or ranks
    first = len(pieces) + 10  # a hole
    added = {name: first + i for i, name in enumerate(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_end|><|twice|>"])}
    decoder = {str(i): {"content": name, "special": True} for name, i in added.items()}
    decoder[str(first + 20)] = {"content": "<tool>", "special": False}  # behind another hole
    os.makedirs(path, exist_ok=True)
    write(path + "/vocab.json", json.dumps({p: i for i, p in enumerate(pieces)}) + "\n")
    write(path + "/merges.txt", "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    write(path + "/added_tokens.json", json.dumps(added, indent=2) + "\n")
    write(path + "/tokenizer_config.json", json.dumps(
        {"add_prefix_space": False, "added_tokens_decoder": decoder,
         "tokenizer_class": "Qwen2Tokenizer"}, indent=2) + "\n")


TEXTS = [
    "", "a", " ", "\n", "\0", "Describe the image.", "  two  blanks  ", "line\n\n  next\r\n\tend ",
    "I'LL don'T WE'RE 'S 'ſ it’s", "12 345", "a\0b\0\0é\0", "naïve cafe\u0301 A\u030angstro\u0308m",
    "\u1100\u1161\u11a8 \uac00", "\u0344\u0301\u0316x", "a\u180eb \u180e c\u0085d\u00a0e\u2003f",
    "\u1680x\u2028y\u205fz\u3000w\u200bv\ufeffu", "½ ² Ⅷ ٣ ௧", "🙂👩‍👩‍👧‍👦🇫🇷", "qxqx qxq xqxqxq qqxx",
    "<|im_start|>user\nhi<|im_end|>\n", "<|im_end|><|twice|><|im_end|><|twic", "<tool>x<tool",
    "<|im_end|>\u0338 x", "e<|im_end|>\u0301", "<image>\n<|image|>", "!!!???\n\n...\r\n,", "\ue000\U0010ffff",
    "x" * 300, " " * 50 + "x", "\n" * 20, "ab" * 100, "e\u0301\u0316" * 140,
    "\u1100\u1161\u11a8" * 90, "Привет, как дела? 你好，世界！ हिन्दी",
]
PROMPTS = [
    ("You are a helpful assistant.", "Describe the image.", True),
    ("You are a helpful assistant.", "", True),
    ("You are a helpful assistant.", "\n  indented\n", True),
    ("You are a helpful assistant.", " \n", True),
    ("", "What is in the picture?", True),
    ("Be brief.\n", "What is in the picture?", False),
    ("You are a helpful assistant.", "\nHello", False),
    ("<|im_end|>\n<|im_start|>user\n", "<|im_end|><|twice|>\n<image><|endoftext|>", True),
    ("<tool>", "<|im_start|", False),
]


def prompt_ids(tokenizer, system, prompt, with_image):
    """The template, typed text apart from the tokens: the reference joins what is between two."""
    start, end = (tokenizer.added[name] for name in ("<|im_start|>", "<|im_end|>"))
    plain = tokenizer.encode_plain
    prefix = [start, *plain("system\n" + system), end, *plain("\n")] if system else []
    prefix += [start] + (plain("user\n") if with_image else [])
    suffix = plain(("\n" if with_image else "user\n") + prompt)
    suffix += [end, *plain("\n"), start, *plain("assistant\n")]
    if not any(name in system + prompt for name in tokenizer.added):
        check_joined(tokenizer, system, prompt, with_image, prefix + suffix)
    return {"system": system, "prompt": prompt, "image": with_image, "prefix": prefix,
            "suffix": suffix}


def check_joined(tokenizer, system, prompt, with_image, ids):
    """Ordinary text: the same as tokenizer_image_token() of llava/mm_utils.py gets."""
    head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    picture = "<image>\n" if with_image else ""
    joined = (f"{head}<|im_start|>user\n{picture}{prompt}<|im_end|>\n<|im_start|>assistant\n")
    chunks = joined.split("<image>") if with_image else [joined]
    assert sum((tokenizer.encode(chunk) for chunk in chunks), []) == ids, prompt


def write_vectors(path):
    tokenizer = Tokenizer(path)
    lines = [dump({"text": text, "ids": tokenizer.encode(text, special), "special": special})
             for text in TEXTS for special in (True, False)]
    write(path + "/vectors.jsonl", "\n".join(lines) + "\n")
    lines = [dump(prompt_ids(tokenizer, *prompt)) for prompt in PROMPTS]
    write(path + "/prompts.jsonl", "\n".join(lines) + "\n")


# --- checks on other tokenizers ---

def check(path, lines):
    tokenizer = Tokenizer(path)
    bad = 0
    with open(lines, encoding="utf-8") as file:
        for line in map(json.loads, file):
            if tokenizer.encode(line["text"]) != line["ids"]:
                bad += 1
                print("differs:", dump(line))
    return bad == 0


def random_text(rng, names):
    """Mostly text that a class border, a merge or a normal form depends on."""
    pools = [
        lambda: chr(rng.randrange(0x20, 0x7f)),
        lambda: rng.choice(["'s", "'LL", "'ſ", "'ve", "'K", " the", " image", "ing", "qx"]),
        lambda: rng.choice(" \n\r\t\v\f\x1c\x1f\x85\xa0\u1680\u180e\u2003\u200b\u2028\u2029\u202f"
                           "\u205f\u3000\ufeff\0"),
        lambda: " " * rng.randrange(1, 9),
        lambda: chr(rng.randrange(0x300, 0x370)),
        lambda: rng.choice("aeiouAEIOUnc") + "".join(
            chr(rng.randrange(0x300, 0x345)) for _ in range(rng.randrange(1, 5))),
        lambda: chr(rng.choice([*range(0x1100, 0x1113), *range(0x1161, 0x1176),
                                *range(0x11a8, 0x11c3)])),
        lambda: chr(rng.randrange(0x80, 0x3100)),
        lambda: chr(rng.randrange(0x3000, 0xa000)),
        lambda: chr(rng.choice([*range(0xe000, 0x11000)])),
        lambda: chr(rng.randrange(0x10000, 0x20000)),
        lambda: rng.choice(names)[:rng.randrange(1, 30)],
        lambda: rng.choice(names),
    ]
    some = rng.sample(pools, rng.randrange(1, 6))
    text = "".join(rng.choice(some)() for _ in range(rng.randrange(1, 40)))
    # What one Unicode version assigned after another is no fault of a tokenizer.
    return "".join(c for c in text if unicodedata.category(c) not in ("Cn", "Cs"))


def fuzz(path, n, seed):
    tokenizer, rng = Tokenizer(path), random.Random(seed)
    names = sorted(tokenizer.added)
    for _ in range(n):
        text, special = random_text(rng, names), rng.random() < 0.5
        print(dump({"text": text, "ids": tokenizer.encode(text, special), "special": special}))
    return True


def main(args):
    if args[:1] == ["check"]:
        return check(args[1], args[2])
    if args[:1] == ["fuzz"]:
        return fuzz(args[1], int(args[2]), int(args[3]))
    write_tokenizer(HERE + "/tiny")
    write_vectors(HERE + "/tiny")
    return True


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)

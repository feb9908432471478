#!/usr/bin/env python3
"""A small byte-level BPE in the files of Qwen2's tokenizer: made here, and read back.

    text -> NFC -> pieces (Qwen2's expression) -> bytes as printable characters -> merges -> ids

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import argparse
import json
import os
import random
import unicodedata
from collections import Counter

import regex

import questions
import scenes
import words

PIECES = regex.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SYSTEM = "You are a helpful assistant."
# A little English besides the scenes' own, so that other prompts take few tokens too.
EXTRA = ("What color is the circle? Please answer yes or no. Tell me about the video. Where is it? "
         "Which shape is this? Is it moving? and or not with from for that this here there on in "
         "at of to it is are was a an the I you can see show me how what who when where which")


def byte_map():
    """GPT-2's printable character for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    out = {b: chr(b) for b in plain}
    out.update({b: chr(256 + i) for i, b in enumerate(rest)})
    return out


BYTES = byte_map()
UNBYTES = {c: b for b, c in BYTES.items()}


def pieces(text):
    """The pieces that merges stay inside of, as printable characters."""
    for piece in PIECES.findall(unicodedata.normalize("NFC", text)):
        yield "".join(BYTES[b] for b in piece.encode())


class Tokenizer:
    """Reads the files of a directory; encodes and decodes."""

    def __init__(self, directory):
        def read(name):
            with open(os.path.join(directory, name), encoding="utf-8") as f:
                return f.read()
        self.vocab = json.loads(read("vocab.json"))
        self.added = json.loads(read("added_tokens.json"))
        lines = [m for m in read("merges.txt").splitlines() if m and not m.startswith("#version")]
        self.ranks = {tuple(m.split(" ")): i for i, m in enumerate(lines)}
        self.names = {i: t for t, i in self.vocab.items()}
        self.cache = {}

    def __len__(self):
        return len(self.vocab) + len(self.added)

    def bpe(self, piece):
        if piece not in self.cache:
            parts = list(piece)
            while len(parts) > 1:
                pairs = [(self.ranks.get(p, 1 << 30), i)
                         for i, p in enumerate(zip(parts, parts[1:]))]
                rank, i = min(pairs)
                if rank == 1 << 30:
                    break
                parts[i:i + 2] = [parts[i] + parts[i + 1]]
            self.cache[piece] = [self.vocab[p] for p in parts]
        return self.cache[piece]

    def encode(self, text):
        """Ids of plain text; special tokens are never made here."""
        return [i for piece in pieces(text) for i in self.bpe(piece)]

    def decode(self, ids):
        """Text of ids, special tokens left out."""
        text = "".join(self.names.get(i, "") for i in ids)
        return bytes(UNBYTES[c] for c in text).decode("utf-8", "replace").strip()

    def prefix(self, system=SYSTEM):
        """The ids before the image's rows."""
        start, end = self.added["<|im_start|>"], self.added["<|im_end|>"]
        return ([start] + self.encode("system\n" + system) + [end] + self.encode("\n") + [start]
                + self.encode("user\n"))

    def suffix(self, prompt):
        """The ids after the image's rows."""
        start, end = self.added["<|im_start|>"], self.added["<|im_end|>"]
        return (self.encode("\n" + prompt) + [end] + self.encode("\n") + [start]
                + self.encode("assistant\n"))


def corpus(cache, count, seed=0):
    """Counts of the pieces in many scenes' texts."""
    rng, found = random.Random(f"tokenizer {seed}"), Counter()
    for _ in range(count):
        scene = scenes.draw(rng, cache)
        for prompt, answer, _ in questions.conversation(rng, scene, 4):
            found.update(pieces("\n" + prompt))
            found.update(pieces(answer))
    every = list(questions.DESCRIBE) + [c for c, _ in words.PATTERNS.values()]
    for text in every + ["system\n" + SYSTEM, "user\n", "assistant\n", "\n"]:
        for p in pieces(text):
            found[p] += 50
    found.update(pieces(EXTRA))
    return found


def train(found, size):
    """Byte-level BPE: (vocab, merges) with `size` tokens at most, no pair rarer than twice."""
    vocab = [BYTES[b] for b in range(256)]
    parts, merges = {p: list(p) for p in found}, []
    while len(vocab) < size:
        pairs = Counter()
        for piece, split in parts.items():
            for pair in zip(split, split[1:]):
                pairs[pair] += found[piece]
        best = max(pairs, key=lambda p: (pairs[p], p), default=None)
        if best is None or pairs[best] < 1:
            break
        merges.append(best)
        vocab.append(best[0] + best[1])
        for split in parts.values():
            i = 0
            while i < len(split) - 1:
                if (split[i], split[i + 1]) == best:
                    split[i:i + 2] = [best[0] + best[1]]
                i += 1
    return vocab, merges


def tokenizer_config(ids):
    """tokenizer_config.json, with the fields of the released one."""
    decoder = {str(i): {"content": t, "lstrip": False, "normalized": False, "rstrip": False,
                        "single_word": False, "special": True} for t, i in ids.items()}
    return {"add_prefix_space": False, "added_tokens_decoder": decoder,
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "bos_token": None,
            "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace",
            "model_max_length": 2048, "pad_token": "<|endoftext|>", "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer", "unk_token": None}


def write(directory, vocab, merges):
    """The tokenizer's four files."""
    added = {t: len(vocab) + i for i, t in enumerate(SPECIALS)}

    def put(name, text):
        with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
            f.write(text)
    put("vocab.json", json.dumps({t: i for i, t in enumerate(vocab)}, ensure_ascii=False) + "\n")
    put("merges.txt", "#version: 0.2\n" + "".join(f"{x} {y}\n" for x, y in merges))
    put("added_tokens.json", json.dumps(added, indent=2) + "\n")
    put("tokenizer_config.json", json.dumps(tokenizer_config(added), indent=2) + "\n")


def main():
    import patterns
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("cache", help="the patterns' .npz file")
    ap.add_argument("output", help="directory to write the four files to")
    ap.add_argument("--size", type=int, default=640, help="tokens at most, beside the special ones")
    ap.add_argument("--scenes", type=int, default=1500)
    a = ap.parse_args()
    found = corpus(patterns.load(a.cache, "train"), a.scenes)
    vocab, merges = train(found, a.size)
    write(a.output, vocab, merges)
    t = Tokenizer(a.output)
    longest = max(len(t.encode(p)) for p in questions.DESCRIBE)
    print(f"{len(vocab)} tokens, {len(t.prefix())} before the image, longest prompt {longest}")


if __name__ == "__main__":
    main()

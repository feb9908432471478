#!/usr/bin/env python3
"""How far bf16, int8 and int4 are from f32, as the tables of docs/precision.md.

    checkpoint -> fastvlm dump in f32, bf16, int8, int4 -> cosine, SNR, the step where greedy ids part
    the same with a few late channels of the encoder 50 times larger
    a program of the golden suite on held-out pictures -> exact answers in each precision

A cosine is that of the whole tensor, the worst row's in brackets. Needs python3-numpy, python3-pil.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import argparse
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile

import numpy as np
from PIL import Image

MODES = ("bf16", "int8", "int4")
TENSORS = ("vision", "projected", "logits")
DTYPES = {"F32": np.float32, "I32": np.int32}
PREFIX, SUFFIX = "1,2,3", "4,5,6,7"
# The 1x1 convolutions of the patch embeddings before the last two stages: what they put out is the
# residual stream of those stages.
UNEVEN = ("model.vision_tower.vision_tower.model.network.5.proj.1.reparam_conv",
          "model.vision_tower.vision_tower.model.network.8.proj.1.reparam_conv")
CHANNELS, FACTOR = (3, 14, 29, 31), 50.0


def read_header(path):
    """The header of a safetensors file and where its data begins."""
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        return json.loads(f.read(size)), 8 + size


def read_tensors(path):
    """All tensors of a dump, as float64."""
    header, start = read_header(path)
    out = {}
    for name, entry in header.items():
        if name != "__metadata__":
            out[name] = np.fromfile(path, DTYPES[entry["dtype"]], int(np.prod(entry["shape"])),
                                    offset=start + entry["data_offsets"][0]).reshape(
                                        entry["shape"]).astype(np.float64)
    return out


def draw(size, path):
    """The reference's test picture."""
    y, x = np.mgrid[0:size, 0:size]
    rgb = np.stack([x * 255 // (size - 1), y * 255 // (size - 1), (x ^ y) * 255 // (2 * size - 1)])
    Image.fromarray(rgb.transpose(1, 2, 0).astype(np.uint8)).save(path)


def scale_rows(raw, header, start, name):
    """Multiply the chosen output channels of one BF16 tensor, in place."""
    entry = header.get(name)
    if entry is None:
        return 0
    if entry["dtype"] != "BF16":
        raise SystemExit(f"{name}: {entry['dtype']}, expected BF16")
    a, b = (start + o for o in entry["data_offsets"])
    words = raw[a:b].view("<u2").reshape(entry["shape"][0], -1)
    for channel in CHANNELS:
        value = (words[channel].astype(np.uint32) << 16).view(np.float32) * np.float32(FACTOR)
        words[channel] = value.view(np.uint32) >> 16
    return 1


def make_uneven(checkpoint, directory):
    """A copy of the checkpoint with a few late channels FACTOR times larger."""
    for name in os.listdir(checkpoint):
        if not name.endswith(".safetensors"):
            shutil.copy(os.path.join(checkpoint, name), directory)
    path = shutil.copy(os.path.join(checkpoint, "model.safetensors"), directory)
    header, start = read_header(path)
    raw = np.memmap(path, np.uint8, "r+")
    changed = sum(scale_rows(raw, header, start, name + part)
                  for name in UNEVEN for part in (".weight", ".bias"))
    raw.flush()
    if changed != 4:
        raise SystemExit(f"{checkpoint}: {changed} of the tensors to change were there, expected 4")
    return directory


def dump(a, checkpoint, picture, size, mode, directory):
    path = os.path.join(directory, f"{mode}.safetensors")
    subprocess.run([a.fastvlm, "dump", picture, "--model", checkpoint, "--resolution", str(size),
                    "--prefix-ids", PREFIX, "--suffix-ids", SUFFIX, "--max-tokens", "16",
                    "--precision", mode, "--output", path], check=True)
    return read_tensors(path)


def compare(x, y):
    """cosine (worst row's), SNR in dB."""
    rows = (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    cosine = (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum())
    noise = ((x - y) ** 2).sum()
    snr = 10 * np.log10((x * x).sum() / noise) if noise > 0 else np.inf
    return f"{cosine:.6f} ({rows.min():.6f}), {snr:.1f} dB"


def parting(x, y):
    """The first step at which two rows of ids differ."""
    x, y = x.ravel(), y.ravel()
    n = min(len(x), len(y))
    differ = np.nonzero(x[:n] != y[:n])[0]
    return f"step {differ[0]}" if len(differ) else f"not in {n}"


def report(a, label, checkpoint, directory):
    for size in a.sizes:
        picture = os.path.join(directory, f"{size}.png")
        draw(size, picture)
        truth = dump(a, checkpoint, picture, size, "f32", directory)
        for mode in MODES:
            found = dump(a, checkpoint, picture, size, mode, directory)
            cells = [compare(truth[t], found[t]) for t in TENSORS]
            print(f"| {label} | {size} px | {mode} | " + " | ".join(cells) +
                  f" | {parting(truth['tokens'], found['tokens'])} |", flush=True)


def report_demo(program, directory):
    """Runs the golden suite's program on a directory with demo/expected.jsonl."""
    environment = dict(os.environ, G_TEST_SRCDIR=directory)
    text = subprocess.run([program, "--tap"], env=environment, stdout=subprocess.PIPE, check=False,
                          text=True).stdout
    print("\n| precision | described | answered |\n| --- | --- | --- |")
    for mode, described, answered in re.findall(
            r"(f32|bf16|int8|int4): described (\d+ of \d+), answered (\d+ of \d+)", text):
        print(f"| {mode} | {described} | {answered} |")


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("fastvlm", help="the built command")
    ap.add_argument("checkpoint", nargs="+", help="a directory of BF16 weights; or NAME=directory")
    ap.add_argument("--sizes", type=lambda t: [int(s) for s in t.split(",")], default=[256, 768])
    ap.add_argument("--demo", nargs=2, metavar=("TEST_DEMO", "DIRECTORY"),
                    help="the golden suite's test_demo, and where demo/expected.jsonl lies")
    a = ap.parse_args()
    print("| checkpoint | picture | precision | vision | projected | logits | ids part |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as directory:
        for text in a.checkpoint:
            label, _, path = text.rpartition("=")
            label = label or os.path.basename(os.path.normpath(path))
            report(a, label, path, directory)
            with tempfile.TemporaryDirectory() as copy:
                report(a, label + ", uneven", make_uneven(path, copy), directory)
    if a.demo:
        report_demo(*a.demo)


if __name__ == "__main__":
    main()

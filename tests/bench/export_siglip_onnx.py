#!/usr/bin/env python3
"""Writes the shape of LLaVA-OneVision's vision encoder as ONNX, to time ONNX Runtime on one tile.

    export_siglip_onnx.py OUT.onnx     (needs python3-torch and python3-onnx, 6 GB of memory)

SigLIP so400m, patches of 14, 384 px, without its last block, as LLaVA-OneVision uses it
(google/siglip-so400m-patch14-384, config.json; LLaVA-NeXT, siglip_encoder.py). Weights are noise: they
change no timing. Input "x" [1, 3, 384, 384], output "y" [1, 729, 1152].

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import sys

import torch

WIDTH, HIDDEN, N_HEADS, N_BLOCKS, SIDE = 1152, 4304, 16, 26, 27


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = torch.nn.LayerNorm(WIDTH), torch.nn.LayerNorm(WIDTH)
        self.q, self.k, self.v, self.out = (torch.nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.fc1, self.fc2 = torch.nn.Linear(WIDTH, HIDDEN), torch.nn.Linear(HIDDEN, WIDTH)

    def forward(self, x):
        rows = self.norm1(x)
        q, k, v = (layer(rows).view(1, SIDE * SIDE, N_HEADS, WIDTH // N_HEADS).transpose(1, 2)
                   for layer in (self.q, self.k, self.v))
        weights = (q @ k.transpose(2, 3) * (WIDTH // N_HEADS) ** -0.5).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(1, SIDE * SIDE, WIDTH))
        hidden = self.fc1(self.norm2(x))  # GELU by tanh, which the exporter does not know
        gate = torch.tanh(0.7978845608 * (hidden + 0.044715 * hidden * hidden * hidden))
        return x + self.fc2(0.5 * hidden * (1 + gate))


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Conv2d(3, WIDTH, 14, 14)
        self.positions = torch.nn.Parameter(0.02 * torch.randn(1, SIDE * SIDE, WIDTH))
        self.blocks = torch.nn.Sequential(*(Block() for _ in range(N_BLOCKS)))

    def forward(self, x):
        return self.blocks(self.patches(x).flatten(2).transpose(1, 2) + self.positions)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with torch.no_grad():
        torch.onnx.export(Tower(), torch.rand(1, 3, 384, 384), sys.argv[1], opset_version=16,
                          input_names=["x"], output_names=["y"])


if __name__ == "__main__":
    main()

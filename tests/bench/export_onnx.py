#!/usr/bin/env python3
"""Writes a checkpoint's vision encoder as ONNX, to time ONNX Runtime on the same work.

    export_onnx.py CHECKPOINT RESOLUTION OUT.onnx     (needs python3-torch and python3-onnx)

The graph is FastViTHD as the released model code has it (apple/ml-fastvlm, mobileclip's mci.py),
float32, input "x" [1, 3, R, R] in 0..1, output "y" [1, (R / 64)^2, width].

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import json
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

PREFIX = "model.vision_tower.vision_tower.model."


def read_weights(path, prefix):
    """{name without the prefix, / for the dot: float32 tensor} of a BF16 model.safetensors."""
    with open(path + "/model.safetensors", "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
    data = np.memmap(path + "/model.safetensors", np.uint8, "r", 8 + size)
    weights = {}
    for name, tensor in header.items():
        if not name.startswith(prefix) or tensor["dtype"] != "BF16":
            continue
        begin, end = tensor["data_offsets"]
        bits = np.asarray(data[begin:end]).view(np.uint16).astype(np.uint32) << 16
        values = torch.from_numpy(bits.view(np.float32).reshape(tensor["shape"]).copy())
        weights[name[len(prefix):].replace(".", "/")] = values
    return weights


class Encoder(torch.nn.Module):
    """FastViTHD; parameters are named as in the file, with / for the dot."""

    def __init__(self, weights):
        super().__init__()
        self.names = set(weights)
        for name, value in weights.items():
            self.register_parameter(name, torch.nn.Parameter(value, requires_grad=False))

    def get(self, name):
        return getattr(self, name)

    def conv(self, x, name, stride=1, groups=1):
        weight = self.get(name + "/weight")
        padding = int(weight.shape[-1]) // 2  # int(): in a trace a size is a tensor
        return F.conv2d(x, weight, self.get(name + "/bias"), stride, padding, 1, int(groups))

    def ffn(self, x, name):
        weight = self.get(name + "/conv/conv/weight")
        x = F.conv2d(x, weight, None, 1, 3, 1, int(x.shape[1]))
        norm = [self.get(f"{name}/conv/bn/{part}")
                for part in ("running_mean", "running_var", "weight", "bias")]
        x = F.batch_norm(x, *norm, eps=1e-5)
        return self.conv(F.gelu(self.conv(x, name + "/fc1")), name + "/fc2")

    def attend(self, x, name):
        batch, width, height, side = x.shape
        rows = x.flatten(2).transpose(1, 2)
        mean = rows.mean(-1, keepdim=True)
        spread = ((rows - mean) ** 2).mean(-1, keepdim=True)
        rows = (rows - mean) / torch.sqrt(spread + 1e-5)
        rows = rows * self.get(name + "/norm/weight") + self.get(name + "/norm/bias")
        qkv = rows @ self.get(name + "/token_mixer/qkv/weight").T
        q, k, v = qkv.reshape(batch, -1, 3, width // 32, 32).permute(2, 0, 3, 1, 4)
        weights = (q * 32 ** -0.5 @ k.transpose(-1, -2)).softmax(-1)
        rows = (weights @ v).transpose(1, 2).reshape(batch, -1, width)
        rows = rows @ self.get(name + "/token_mixer/proj/weight").T
        rows = rows + self.get(name + "/token_mixer/proj/bias")
        return rows.transpose(1, 2).reshape(batch, width, height, side)

    def block(self, x, name):
        if name + "/layer_scale" in self.names:
            x = self.conv(x, name + "/token_mixer/reparam_conv", 1, x.shape[1])
            return x + self.get(name + "/layer_scale") * self.ffn(x, name + "/convffn")
        x = x + self.get(name + "/layer_scale_1") * self.attend(x, name)
        return x + self.get(name + "/layer_scale_2") * self.ffn(x, name + "/convffn")

    def step(self, x, name):
        """One member of `network`: a positional convolution, a patch embedding or blocks."""
        if name + "/reparam_conv/weight" in self.names:
            return self.conv(x, name + "/reparam_conv", 1, x.shape[1])
        if name + "/proj/0/lkb_reparam/weight" in self.names:
            x = F.gelu(self.conv(x, name + "/proj/0/lkb_reparam", 2, x.shape[1]))
            return F.gelu(self.conv(x, name + "/proj/1/reparam_conv"))
        index = 0
        while f"{name}/{index}/convffn/fc1/weight" in self.names:
            x = self.block(x, f"{name}/{index}")
            index += 1
        return x

    def forward(self, x):
        x = F.gelu(self.conv(x, "patch_embed/0/reparam_conv", 2))
        x = F.gelu(self.conv(x, "patch_embed/1/reparam_conv", 2, x.shape[1]))
        x = F.gelu(self.conv(x, "patch_embed/2/reparam_conv"))
        for index in range(11):
            x = self.step(x, f"network/{index}")
        x = self.conv(x, "conv_exp/reparam_conv", 1, x.shape[1])
        gate = F.relu(self.conv(x.mean((2, 3), keepdim=True), "conv_exp/se/reduce"))
        x = F.gelu(x * torch.sigmoid(self.conv(gate, "conv_exp/se/expand")))
        return x.flatten(2).transpose(1, 2)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    path, resolution, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    with torch.no_grad():
        torch.onnx.export(Encoder(read_weights(path, PREFIX)), torch.rand(1, 3, resolution, resolution),
                          out, opset_version=16, input_names=["x"], output_names=["y"])


if __name__ == "__main__":
    main()

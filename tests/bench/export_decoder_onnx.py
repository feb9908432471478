#!/usr/bin/env python3
"""Writes a checkpoint's Qwen2 decoder as ONNX, to time ONNX Runtime on the same work.

    export_decoder_onnx.py CHECKPOINT N_TOKENS OUT.onnx     the layers over N_TOKENS embeddings
    export_decoder_onnx.py CHECKPOINT head OUT.onnx         the scores of one row

(needs python3-torch and python3-onnx). Float32, input "x" [1, N_TOKENS, width], no KV cache: with one
token it is the least that a token can cost. A checkpoint in one file with tied embeddings, as the 0.5B.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import json
import sys

import torch
from export_onnx import read_weights

PREFIX = "model."


class Decoder(torch.nn.Module):
    """Qwen2 (transformers, modeling_qwen2.py); parameters are named as in the file, / for the dot."""

    def __init__(self, config, weights, n_tokens):
        super().__init__()
        self.config, self.n_tokens = config, n_tokens
        self.head_width = config["hidden_size"] // config["num_attention_heads"]
        for name, value in weights.items():
            if name.startswith("layers/"):
                self.register_parameter(name, torch.nn.Parameter(value, requires_grad=False))
        steps = torch.arange(0, self.head_width, 2) / self.head_width
        angles = torch.outer(torch.arange(n_tokens), config["rope_theta"] ** -steps).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        self.register_buffer("mask", torch.full((n_tokens, n_tokens), -1e9).triu(1))

    def linear(self, x, name, has_bias=False):
        y = x @ getattr(self, name + "/weight").T
        return y + getattr(self, name + "/bias") if has_bias else y

    def norm(self, x, name):
        scale = torch.rsqrt((x * x).mean(-1, keepdim=True) + self.config["rms_norm_eps"])
        return x * scale * getattr(self, name + "/weight")

    def heads(self, x, name, n_heads):
        rows = self.linear(x, name, True)
        return rows.view(1, self.n_tokens, n_heads, self.head_width).transpose(1, 2)

    def rotate(self, x):
        left, right = x.split(self.head_width // 2, -1)
        return x * self.cos + torch.cat((-right, left), -1) * self.sin

    def attend(self, x, name):
        n_heads, n_kv = (self.config[k] for k in ("num_attention_heads", "num_key_value_heads"))
        n, width = self.n_tokens, self.head_width
        q = self.rotate(self.heads(x, name + "/q_proj", n_heads))
        k = self.rotate(self.heads(x, name + "/k_proj", n_kv))
        v = self.heads(x, name + "/v_proj", n_kv)
        # Heads that share a key are rows of one product: nothing is copied.
        scores = q.reshape(1, n_kv, -1, width) @ k.transpose(2, 3) * width ** -0.5
        weights = (scores.view(1, n_heads, n, n) + self.mask).softmax(-1)
        rows = weights.view(1, n_kv, -1, n) @ v
        rows = rows.view(1, n_heads, n, width).transpose(1, 2).reshape(1, n, n_heads * width)
        return self.linear(rows, name + "/o_proj")

    def forward(self, x):
        for layer in range(self.config["num_hidden_layers"]):
            name = f"layers/{layer}"
            x = x + self.attend(self.norm(x, name + "/input_layernorm"), name + "/self_attn")
            rows = self.norm(x, name + "/post_attention_layernorm")
            gate = self.linear(rows, name + "/mlp/gate_proj")
            hidden = gate * gate.sigmoid() * self.linear(rows, name + "/mlp/up_proj")
            x = x + self.linear(hidden, name + "/mlp/down_proj")
        return x


class Head(torch.nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.register_parameter("weight", torch.nn.Parameter(weight, requires_grad=False))

    def forward(self, x):
        return x @ self.weight.T


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    path, what, out = sys.argv[1:]
    with open(path + "/config.json", encoding="utf-8") as file:
        config = json.load(file)
    n_tokens = 1 if what == "head" else int(what)
    prefix = PREFIX + ("embed_tokens." if what == "head" else "")
    weights = read_weights(path, prefix)
    module = Head(weights["weight"]) if what == "head" else Decoder(config, weights, n_tokens)
    with torch.no_grad():
        torch.onnx.export(module, torch.randn(1, n_tokens, config["hidden_size"]), out,
                          opset_version=16, input_names=["x"], output_names=["y"])


if __name__ == "__main__":
    main()

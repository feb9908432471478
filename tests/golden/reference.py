#!/usr/bin/env python3
"""Makes the vectors that the golden tests hold the engine against.

    reference.py OUTDIR        (needs numpy; writes CASE.safetensors for each of CASES)

    case -> weights, a function of (seed, name, index) -> FastVLM in float64 -> vectors

An implementation of its own, in double precision and without a layers library, after the modules of
apple/ml-fastvlm (llava/model/multimodal_encoder/mobileclip/mci.py, multimodal_projector) and
Qwen2 (transformers, modeling_qwen2.py). The C tests make the same weights themselves (tests/unit/
synth.h), so that no checkpoint need be shipped: element i of tensor NAME is

    h = fnv1a64(NAME) ^ (seed * GOLDEN mod 2^64)
    z = splitmix64(h + (i + 1) * GOLDEN mod 2^64)
    weight = offset + scale * (2 * (z >> 40) / 2^24 - 1), rounded to the storage type

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import json
import math
import os
import struct
import sys

import numpy as np

# Small, and each unlike the others: widths, block counts, head shapes, storage type, head, context.
CASES = {
    "narrow": dict(seed=2, dtype="BF16", blocks=[1, 1, 1, 1, 1], dims=[8, 16, 32, 64, 128],
                   hidden=64, layers=2, heads=4, kv_heads=2, ffn=96, vocab=300, tied=True,
                   sizes=[64, 128, 192], prefix=[207, 263, 176, 295], suffix=[180, 235, 137],
                   tokens=16),
    "untied": dict(seed=3, dtype="F32", blocks=[2, 1, 1, 2, 1], dims=[16, 32, 64, 128, 256],
                   hidden=96, layers=2, heads=6, kv_heads=3, ffn=136, vocab=333, tied=False,
                   sizes=[64, 256], prefix=[], suffix=[201, 331, 87, 86, 257], tokens=12),
    "half": dict(seed=5, dtype="F16", blocks=[1, 2, 3, 1, 2], dims=[24, 48, 96, 192, 384],
                 hidden=48, layers=4, heads=3, kv_heads=1, ffn=80, vocab=257, tied=True,
                 sizes=[128, 192], prefix=[148, 11], suffix=[213], tokens=20),
    # Heads as the large models have them: 128 wide, six to a key, a head of its own.
    "grouped": dict(seed=7, dtype="BF16", blocks=[1, 1, 1, 1, 1], dims=[8, 16, 32, 64, 128],
                    hidden=1536, layers=2, heads=12, kv_heads=2, ffn=80, vocab=211, tied=False,
                    sizes=[64, 128], prefix=[20, 101], suffix=[77, 3, 150], tokens=12),
}
LEAST_MARGIN = 1e-2  # between the best and the second logit: float32 must not turn a token
ROPE_THETA = 1e6
RMS_EPSILON = 1e-6
NORM_EPSILON = 1e-5
VISION_HEAD_DIM = 32
TOWER = "model.vision_tower.vision_tower.model."
MASK64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


# --- weights ---------------------------------------------------------------------------------

def hash_name(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 & MASK64
    return h


def draw(name, count, seed):
    """float32 [count] in [-1, 1)."""
    with np.errstate(over="ignore"):
        z = np.uint64(hash_name(name) ^ (seed * GOLDEN & MASK64))
        z = z + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return np.float32(2) * ((z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)) - 1


def carries_skip(name):
    """Depthwise kernels that hold a block's skip connection: an identity is added to them."""
    if name.endswith("token_mixer.reparam_conv.weight"):
        return True
    parts = name[len(TOWER):].split(".") if name.startswith(TOWER + "network.") else []
    return len(parts) == 4 and name.endswith("reparam_conv.weight")


def offset_and_scale(name, shape):
    if name.endswith("running_var"):
        return 1.0, 0.5
    if name.endswith("running_mean"):
        return 0.0, 0.1
    if "layer_scale" in name:
        return 0.3, 0.1
    if name.endswith(("norm.weight", ".bn.weight")):
        return 1.0, 0.1
    if name.endswith(("q_proj.bias", "k_proj.bias")):
        return 0.0, 0.5
    if name.endswith(".bias"):
        return 0.0, 0.02
    if "embed_tokens" in name or name.startswith("lm_head"):
        return 0.0, 0.1 * 3 ** 0.5
    scale = (3.0 / math.prod(shape[1:])) ** 0.5
    if carries_skip(name):
        scale *= 0.2
    if name.endswith(("q_proj.weight", "k_proj.weight", "o_proj.weight")):
        scale *= 2.0
    return 0.0, scale


def store(values, dtype):
    """What is left of float32 values in a file of `dtype`, as float64."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(values).view(np.uint32)
        bits = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        values = (bits & np.uint32(0xFFFF0000)).view(np.float32)
    elif dtype == "F16":
        values = values.astype(np.float16)
    return values.astype(np.float64)


class Weights:
    """Tensors by name, made when asked for."""

    def __init__(self, case):
        self.case = case

    def __call__(self, name, *shape):
        drawn = name
        if name == "lm_head.weight" and self.case["tied"]:
            drawn = "model.embed_tokens.weight"
        offset, scale = offset_and_scale(drawn, shape)
        values = draw(drawn, math.prod(shape), self.case["seed"])
        values = (np.float32(offset) + np.float32(scale) * values).reshape(shape)
        if carries_skip(name):
            values[:, 0, shape[2] // 2, shape[3] // 2] += np.float32(1)
        return store(values, self.case["dtype"])


# --- layers, on [height, width, channels] ------------------------------------------------------

erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu(x):
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def convolve(x, w, stride=1, groups=1):
    """w [out, in / groups, k, k], padded with k // 2 zeros."""
    n_out, n_in, k, _ = w.shape
    pad = k // 2
    height, width = (x.shape[0] - 1) // stride + 1, (x.shape[1] - 1) // stride + 1
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    per_group = n_out // groups
    out = np.zeros((height, width, n_out))
    for dy in range(k):
        for dx in range(k):
            tap = x[dy:dy + stride * height:stride, dx:dx + stride * width:stride]
            if groups == 1:
                out += tap @ w[:, :, dy, dx].T
            else:
                out += tap[:, :, np.arange(n_out) // per_group] * w[:, 0, dy, dx]
    return out


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def feed_forward(x, get, p, c):
    x = convolve(x, get(p + "conv.conv.weight", c, 1, 7, 7), groups=c)
    mean, var = get(p + "conv.bn.running_mean", c), get(p + "conv.bn.running_var", c)
    x = (x - mean) / np.sqrt(var + NORM_EPSILON)
    x = x * get(p + "conv.bn.weight", c) + get(p + "conv.bn.bias", c)
    x = gelu(x @ get(p + "fc1.weight", 4 * c, c, 1, 1)[:, :, 0, 0].T + get(p + "fc1.bias", 4 * c))
    return x @ get(p + "fc2.weight", c, 4 * c, 1, 1)[:, :, 0, 0].T + get(p + "fc2.bias", c)


def mixer_block(x, get, p, c):
    q = p + "token_mixer.reparam_conv."
    x = convolve(x, get(q + "weight", c, 1, 3, 3), groups=c) + get(q + "bias", c)
    return x + get(p + "layer_scale", c, 1, 1).ravel() * feed_forward(x, get, p + "convffn.", c)


def attention_block(x, get, p, c):
    height, width, _ = x.shape
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + NORM_EPSILON)
    normed = normed * get(p + "norm.weight", c) + get(p + "norm.bias", c)
    rows = normed.reshape(-1, c) @ get(p + "token_mixer.qkv.weight", 3 * c, c).T
    mixed = []
    for head in range(c // VISION_HEAD_DIM):
        q, k, v = (rows[:, part * c + head * VISION_HEAD_DIM:][:, :VISION_HEAD_DIM]
                   for part in range(3))
        mixed.append(softmax(q @ k.T / math.sqrt(VISION_HEAD_DIM)) @ v)
    rows = np.concatenate(mixed, -1) @ get(p + "token_mixer.proj.weight", c, c).T
    rows += get(p + "token_mixer.proj.bias", c)
    x = x + get(p + "layer_scale_1", c, 1, 1).ravel() * rows.reshape(height, width, c)
    return x + get(p + "layer_scale_2", c, 1, 1).ravel() * feed_forward(x, get, p + "convffn.", c)


def embed_patches(x, get, p, c):
    """Halves the sides, doubles the c channels."""
    q = p + "proj.0.lkb_reparam."
    x = convolve(x, get(q + "weight", 2 * c, 1, 7, 7), stride=2, groups=c)
    x = gelu(x + get(q + "bias", 2 * c))
    q = p + "proj.1.reparam_conv."
    return gelu(convolve(x, get(q + "weight", 2 * c, 2 * c, 1, 1)) + get(q + "bias", 2 * c))


def expand(x, get, c):
    """The last convolution with squeeze and excitation: 2c channels."""
    p, d = TOWER + "conv_exp.", 2 * c
    x = convolve(x, get(p + "reparam_conv.weight", d, 1, 3, 3), groups=c)
    x += get(p + "reparam_conv.bias", d)
    s = x.mean((0, 1)) @ get(p + "se.reduce.weight", d // 16, d, 1, 1)[:, :, 0, 0].T
    s = np.maximum(s + get(p + "se.reduce.bias", d // 16), 0)
    s = s @ get(p + "se.expand.weight", d, d // 16, 1, 1)[:, :, 0, 0].T
    s = 1 / (1 + np.exp(-(s + get(p + "se.expand.bias", d))))
    return gelu(x * s)


def see(picture, get, case):
    """picture [S, S, 3] in 0..1 -> vision [(S/64)^2, 2 * dims[4]]."""
    dims, x = case["dims"], picture
    for n, (shape, stride, groups) in enumerate((((dims[0], 3, 3, 3), 2, 1),
                                                 ((dims[0], 1, 3, 3), 2, dims[0]),
                                                 ((dims[0], dims[0], 1, 1), 1, 1))):
        p = TOWER + f"patch_embed.{n}.reparam_conv."
        x = gelu(convolve(x, get(p + "weight", *shape), stride, groups) + get(p + "bias", dims[0]))
    n = 0
    for stage, c in enumerate(dims):
        if stage >= 3:
            p = TOWER + f"network.{n}.reparam_conv."
            x = convolve(x, get(p + "weight", c, 1, 7, 7), groups=c) + get(p + "bias", c)
            n += 1
        block = mixer_block if stage < 3 else attention_block
        for k in range(case["blocks"][stage]):
            x = block(x, get, TOWER + f"network.{n}.{k}.", c)
        n += 1
        if stage < 4:
            x = embed_patches(x, get, TOWER + f"network.{n}.", c)
            n += 1
    x = expand(x, get, dims[4])
    return x.reshape(-1, 2 * dims[4])


def project(vision, get, case):
    p, h = "model.mm_projector.", case["hidden"]
    x = gelu(vision @ get(p + "0.weight", h, vision.shape[1]).T + get(p + "0.bias", h))
    return x @ get(p + "2.weight", h, h).T + get(p + "2.bias", h)


# --- decoder, on [positions, hidden], all positions anew for each token --------------------------

def rms_norm(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + RMS_EPSILON) * weight


def rotate(x):
    """x [positions, heads, d]: pairs (i, i + d/2) turn by position * theta^(-2i/d)."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[0])[:, None] * ROPE_THETA ** (-np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def attend(x, get, p, case):
    h, heads, kv_heads = case["hidden"], case["heads"], case["kv_heads"]
    d, n = h // heads, x.shape[0]
    q, k, v = (x @ get(p + f"{t}_proj.weight", m * d, h).T + get(p + f"{t}_proj.bias", m * d)
               for t, m in (("q", heads), ("k", kv_heads), ("v", kv_heads)))
    q, k = rotate(q.reshape(n, heads, d)), rotate(k.reshape(n, kv_heads, d))
    v = v.reshape(n, kv_heads, d)
    future = np.triu(np.ones((n, n), bool), 1)
    out = []
    for head in range(heads):
        g = head * kv_heads // heads
        scores = np.where(future, -np.inf, q[:, head] @ k[:, g].T / math.sqrt(d))
        out.append(softmax(scores) @ v[:, g])
    return np.concatenate(out, -1) @ get(p + "o_proj.weight", h, h).T


def last_logits(x, get, case):
    h, ffn, vocab = case["hidden"], case["ffn"], case["vocab"]
    for layer in range(case["layers"]):
        p = f"model.layers.{layer}."
        y = rms_norm(x, get(p + "input_layernorm.weight", h))
        x = x + attend(y, get, p + "self_attn.", case)
        y = rms_norm(x, get(p + "post_attention_layernorm.weight", h))
        gate = y @ get(p + "mlp.gate_proj.weight", ffn, h).T
        up = y @ get(p + "mlp.up_proj.weight", ffn, h).T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ get(p + "mlp.down_proj.weight", h, ffn).T
    return get("lm_head.weight", vocab, h) @ rms_norm(x[-1], get("model.norm.weight", h))


def speak(projected, get, case):
    """Greedy -> (first logits, tokens, least margin)."""
    embedding = get("model.embed_tokens.weight", case["vocab"], case["hidden"])
    x = np.concatenate([embedding[case["prefix"]], projected, embedding[case["suffix"]]])
    first, tokens, margin = None, [], math.inf
    for _ in range(case["tokens"]):
        logits = last_logits(x, get, case)
        first = logits if first is None else first
        best, second = np.sort(logits)[:-3:-1]
        margin = min(margin, best - second)
        tokens.append(int(logits.argmax()))
        x = np.concatenate([x, embedding[tokens[-1:]]])
    return first, tokens, margin


# --- vectors ---------------------------------------------------------------------------------

def draw_picture(size):
    """The test picture: integers only, so that any language makes the same."""
    y, x = np.mgrid[0:size, 0:size]
    return np.stack([x * 255 // (size - 1), y * 255 // (size - 1),
                     (x ^ y) * 255 // (2 * size - 1)], -1)


def write_safetensors(path, metadata, tensors):
    header, body = {"__metadata__": metadata}, b""
    for name, values in tensors.items():
        data = values.tobytes()
        header[name] = {"dtype": "F32" if values.dtype == np.float32 else "I32",
                        "shape": list(values.shape),
                        "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + body)


def make_vectors(case, sizes):
    """{name: array}, and the least margin met."""
    get, least = Weights(case), math.inf
    tensors = {"prefix_ids": np.array(case["prefix"], np.int32),
               "suffix_ids": np.array(case["suffix"], np.int32)}
    for size in sizes:
        vision = see(draw_picture(size) / 255, get, case)
        projected = project(vision, get, case)
        logits, tokens, margin = speak(projected, get, case)
        least = min(least, margin)
        tensors[f"{size}.vision"] = vision.astype(np.float32)
        tensors[f"{size}.projected"] = projected.astype(np.float32)
        tensors[f"{size}.logits"] = logits.astype(np.float32)
        tensors[f"{size}.tokens"] = np.array(tokens, np.int32)
    return tensors, least


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return 2
    for name, case in CASES.items():
        tensors, least = make_vectors(case, case["sizes"])
        if least < LEAST_MARGIN:
            print(f"{name}: a margin of {least:.2e}: choose other ids", file=sys.stderr)
            return 1
        write_safetensors(os.path.join(sys.argv[1], name + ".safetensors"),
                          {"case": json.dumps(case)}, tensors)
        print(f"{name}: sizes {case['sizes']}, least margin {least:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

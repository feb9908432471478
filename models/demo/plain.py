"""The forward pass straight from an exported checkpoint's tensors, batched, in float32.

    directory -> tensors -> see() image rows -> answer() greedy tokens of many prompts at once

Knows nothing of net.py: it reads what the engine will read.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import json
import os
import struct

import numpy as np
import torch
import torch.nn.functional as F

import tokenizer as tok

VISION = "model.vision_tower.vision_tower.model."


def read_tensors(path):
    """BF16 tensors of a safetensors file as float32."""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        body = f.read()
    out = {}
    for name, t in header.items():
        if name != "__metadata__" and t["dtype"] == "BF16":
            raw = np.frombuffer(body[slice(*t["data_offsets"])], "<u2").astype(np.uint32) << 16
            out[name] = torch.from_numpy(raw.view(np.float32).reshape(t["shape"]).copy())
    return out


class Plain:
    """A checkpoint directory, ready to answer."""

    def __init__(self, directory):
        with open(os.path.join(directory, "config.json"), encoding="utf-8") as f:
            self.cfg = json.load(f)
        self.t = read_tensors(os.path.join(directory, "model.safetensors"))
        self.tokenizer = tok.Tokenizer(directory)

    # Vision ------------------------------------------------------------------------------

    def conv(self, x, name, stride=1, groups=1):
        w = self.t[name + ".weight"]
        return F.conv2d(x, w, self.t.get(name + ".bias"), stride, w.shape[-1] // 2, 1, groups)

    def convffn(self, x, name):
        bn = name + "convffn.conv.bn."
        x = self.conv(x, name + "convffn.conv.conv", groups=x.shape[1])
        x = F.batch_norm(x, self.t[bn + "running_mean"], self.t[bn + "running_var"],
                         self.t[bn + "weight"], self.t[bn + "bias"], eps=1e-5)
        return self.conv(F.gelu(self.conv(x, name + "convffn.fc1")), name + "convffn.fc2")

    def attention(self, x, name):
        b, c, h, w = x.shape
        y = F.layer_norm(x.flatten(2).transpose(1, 2), (c,), self.t[name + "norm.weight"],
                         self.t[name + "norm.bias"], 1e-5)
        q, k, v = (y @ self.t[name + "token_mixer.qkv.weight"].T).view(
            b, h * w, 3, c // 32, 32).permute(2, 0, 3, 1, 4)
        y = ((q @ k.transpose(-1, -2) * 32 ** -0.5).softmax(-1) @ v).transpose(1, 2)
        y = F.linear(y.reshape(b, h * w, c), self.t[name + "token_mixer.proj.weight"],
                     self.t[name + "token_mixer.proj.bias"])
        return y.transpose(1, 2).reshape(b, c, h, w)

    def block(self, x, name):
        if name + "layer_scale" in self.t:
            x = self.conv(x, name + "token_mixer.reparam_conv", groups=x.shape[1])
            return x + self.t[name + "layer_scale"] * self.convffn(x, name)
        x = x + self.t[name + "layer_scale_1"] * self.attention(x, name)
        return x + self.t[name + "layer_scale_2"] * self.convffn(x, name)

    def part(self, x, name):
        """One of the network's parts: a stage, a PatchEmbed or a position convolution."""
        c = x.shape[1]
        if name + "reparam_conv.weight" in self.t:
            return self.conv(x, name + "reparam_conv", groups=c)
        if name + "proj.0.lkb_reparam.weight" in self.t:
            x = F.gelu(self.conv(x, name + "proj.0.lkb_reparam", 2, c))
            return F.gelu(self.conv(x, name + "proj.1.reparam_conv"))
        k = 0
        while f"{name}{k}.convffn.fc1.weight" in self.t:
            x = self.block(x, f"{name}{k}.")
            k += 1
        return x

    def see(self, pixels):
        """uint8 [B,256,256,3] -> image rows [B,16,hidden]"""
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        p = VISION + "patch_embed."
        x = F.gelu(self.conv(x, p + "0.reparam_conv", 2))
        x = F.gelu(self.conv(x, p + "1.reparam_conv", 2, x.shape[1]))
        x = F.gelu(self.conv(x, p + "2.reparam_conv"))
        for i in range(11):
            x = self.part(x, f"{VISION}network.{i}.")
        x = self.conv(x, VISION + "conv_exp.reparam_conv", groups=x.shape[1])
        s = F.relu(self.conv(x.mean((2, 3), keepdim=True), VISION + "conv_exp.se.reduce"))
        x = F.gelu(x * torch.sigmoid(self.conv(s, VISION + "conv_exp.se.expand")))
        x = F.gelu(F.linear(x.flatten(2).transpose(1, 2), self.t["model.mm_projector.0.weight"],
                            self.t["model.mm_projector.0.bias"]))
        return F.linear(x, self.t["model.mm_projector.2.weight"],
                        self.t["model.mm_projector.2.bias"])

    # Language ----------------------------------------------------------------------------

    def norm(self, x, name):
        y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.cfg["rms_norm_eps"])
        return y * self.t[name + ".weight"]

    def rotate(self, x, turn):
        a, b = x.chunk(2, -1)
        return x * turn[0] + torch.cat([-b, a], -1) * turn[1]

    def attend(self, x, name, turn, mask):
        b, t, _ = x.shape
        heads, kv = self.cfg["num_attention_heads"], self.cfg["num_key_value_heads"]
        q, k, v = (F.linear(x, self.t[f"{name}{n}_proj.weight"], self.t[f"{name}{n}_proj.bias"])
                   .view(b, t, m, -1).transpose(1, 2) for n, m in zip("qkv", (heads, kv, kv)))
        q, k = self.rotate(q, turn), self.rotate(k, turn)
        k, v = (y.repeat_interleave(heads // kv, 1) for y in (k, v))
        a = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + mask).softmax(-1)
        return (a @ v).transpose(1, 2).reshape(b, t, -1) @ self.t[name + "o_proj.weight"].T

    def hidden(self, x):
        """[B,T,hidden] embeddings from position 0 -> final hidden states"""
        t, width = x.shape[1], self.cfg["hidden_size"] // self.cfg["num_attention_heads"]
        inv = self.cfg["rope_theta"] ** (-torch.arange(0, width, 2).float() / width)
        angle = torch.cat([torch.arange(t).float()[:, None] * inv] * 2, -1)
        turn, mask = (angle.cos(), angle.sin()), torch.full((t, t), -1e9).triu(1)
        for i in range(self.cfg["num_hidden_layers"]):
            p = f"model.layers.{i}."
            x = x + self.attend(self.norm(x, p + "input_layernorm"), p + "self_attn.", turn, mask)
            y = self.norm(x, p + "post_attention_layernorm")
            gate = F.silu(y @ self.t[p + "mlp.gate_proj.weight"].T)
            up = y @ self.t[p + "mlp.up_proj.weight"].T
            x = x + (gate * up) @ self.t[p + "mlp.down_proj.weight"].T
        return self.norm(x, "model.norm")

    def answer(self, rows, prompts, longest=40):
        """Greedy texts: rows [B,16,hidden], a prompt for each."""
        k, embed = self.tokenizer, self.t["model.embed_tokens.weight"]
        stops = {k.added["<|im_end|>"], k.added["<|endoftext|>"]}
        prefix, tails = k.prefix(), [k.suffix(p) for p in prompts]
        said = [[] for _ in prompts]
        for _ in range(longest):
            live = [i for i, s in enumerate(said) if not s or s[-1] not in stops]
            if not live:
                break
            tokens = [tails[i] + said[i] for i in live]
            most = max(map(len, tokens))
            ids = torch.tensor([t + [0] * (most - len(t)) for t in tokens])
            before = embed[torch.tensor(prefix)].expand(len(live), -1, -1)
            h = self.hidden(torch.cat([before, rows[live], embed[ids]], 1))
            at = torch.tensor([len(prefix) + rows.shape[1] + len(t) - 1 for t in tokens])
            logits = h[torch.arange(len(live)), at] @ embed.T
            logits[:, len(k):] = -1e9
            for i, token in zip(live, logits.argmax(-1).tolist()):
                said[i].append(token)
        return [k.decode([t for t in s if t not in stops]) for s in said]

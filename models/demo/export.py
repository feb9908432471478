#!/usr/bin/env python3
"""Turn a training checkpoint into a checkpoint directory of the released layout.

    checkpoint.pt (averaged weights) -> BatchNorm folded -> names and shapes as released -> bf16
    -> config.json, model.safetensors

Folds: BN after a convolution: w * g / sqrt(v + eps), b - m * g / sqrt(v + eps); an identity
beside a depthwise convolution: + 1 at its centre. Computed in float64, rounded to even.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import argparse
import json
import os
import shutil
import struct

import numpy as np
import torch

import data
import net
import tokenizer as tok

VISION = "model.vision_tower.vision_tower.model."
TOKENIZER_FILES = ("vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json")


def fold(part):
    """Weight and bias of a ConvBN as one convolution, float64."""
    w, bn = part.conv.weight.double(), part.bn
    gain = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
    w = w * gain[:, None, None, None]
    if part.identity:
        w[:, 0, w.shape[2] // 2, w.shape[3] // 2] += 1
    return w, bn.bias.double() - bn.running_mean.double() * gain


def put(out, name, part):
    out[name + ".weight"], out[name + ".bias"] = fold(part)


def export_convffn(out, name, part):
    """The ConvFFN keeps its norm; its two 1x1 convolutions take theirs in."""
    out[name + "conv.conv.weight"] = part.conv.conv.weight
    for t in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        out[name + "conv.bn." + t] = getattr(part.conv.bn, t)
    put(out, name + "fc1", part.fc1)
    put(out, name + "fc2", part.fc2)


def export_block(out, name, part):
    if isinstance(part, net.RepMixerBlock):
        put(out, name + "token_mixer.reparam_conv", part.mixer)
        out[name + "layer_scale"] = part.scale
    else:
        out[name + "norm.weight"], out[name + "norm.bias"] = part.norm.weight, part.norm.bias
        out[name + "token_mixer.qkv.weight"] = part.qkv.weight
        out[name + "token_mixer.proj.weight"] = part.proj.weight
        out[name + "token_mixer.proj.bias"] = part.proj.bias
        out[name + "layer_scale_1"], out[name + "layer_scale_2"] = part.scale1, part.scale2
    export_convffn(out, name + "convffn.", part.convffn)


def export_vision(out, encoder):
    for i, part in enumerate(encoder.stem):
        put(out, f"{VISION}patch_embed.{i}.reparam_conv", part)
    for i, part in enumerate(encoder.network):
        name = f"{VISION}network.{i}."
        if isinstance(part, net.ConvBN):
            put(out, name + "reparam_conv", part)
        elif isinstance(part, net.PatchEmbed):
            put(out, name + "proj.0.lkb_reparam", part.lkb)
            put(out, name + "proj.1.reparam_conv", part.point)
        else:
            for k, block in enumerate(part):
                export_block(out, f"{name}{k}.", block)
    put(out, VISION + "conv_exp.reparam_conv", encoder.exp.conv)
    for t in ("reduce", "expand"):
        layer = getattr(encoder.exp, t)
        out[f"{VISION}conv_exp.se.{t}.weight"] = layer.weight
        out[f"{VISION}conv_exp.se.{t}.bias"] = layer.bias


def export_language(out, model):
    for i, j in ((0, 0), (1, 2)):
        out[f"model.mm_projector.{j}.weight"] = model.project[i].weight
        out[f"model.mm_projector.{j}.bias"] = model.project[i].bias
    out["model.embed_tokens.weight"] = out["lm_head.weight"] = model.embed.weight
    out["model.norm.weight"] = model.norm
    for i, layer in enumerate(model.layers):
        name = f"model.layers.{i}."
        for t in "qkv":
            out[f"{name}self_attn.{t}_proj.weight"] = getattr(layer, t).weight
            out[f"{name}self_attn.{t}_proj.bias"] = getattr(layer, t).bias
        out[name + "self_attn.o_proj.weight"] = layer.o.weight
        for t in ("gate", "up", "down"):
            out[f"{name}mlp.{t}_proj.weight"] = getattr(layer, t).weight
        out[name + "input_layernorm.weight"] = layer.norm1
        out[name + "post_attention_layernorm.weight"] = layer.norm2


def tensors(model):
    """Every tensor by its released name."""
    out = {}
    with torch.no_grad():
        export_vision(out, model.encoder)
        export_language(out, model)
        return {k: v.detach().clone() for k, v in out.items()}


def bf16_bytes(t):
    """Little-endian bfloat16, rounded to nearest even."""
    bits = t.float().numpy().astype("<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()


def write_safetensors(path, named):
    header, blobs, at = {"__metadata__": {"format": "pt", "license": "LGPL-2.1-or-later"}}, [], 0
    for name in sorted(named):
        t = named[name]
        whole = not t.dtype.is_floating_point
        blob = struct.pack("<q", int(t)) if whole else bf16_bytes(t)
        header[name] = {"dtype": "I64" if whole else "BF16", "shape": list(t.shape),
                        "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def config_json(cfg, vocab, added):
    """config.json with the released one's keys."""
    return {
        "architectures": ["LlavaQwen2ForCausalLM"], "attention_dropout": 0.0,
        "bos_token_id": added["<|endoftext|>"], "eos_token_id": added["<|im_end|>"],
        "hidden_act": "silu", "hidden_size": cfg["hidden"], "image_aspect_ratio": "pad",
        "image_grid_pinpoints": None, "intermediate_size": cfg["ffn"],
        "max_position_embeddings": 2048, "mm_hidden_size": 2 * cfg["dims"][4],
        "mm_patch_merge_type": "flat", "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_patch_token": False, "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch", "mm_vision_select_layer": -2,
        "mm_vision_tower": f"mobileclip_l_{cfg['image']}", "model_type": "llava_qwen2",
        "num_attention_heads": cfg["heads"], "num_hidden_layers": cfg["n_layers"],
        "num_key_value_heads": cfg["kv"], "rms_norm_eps": cfg["eps"], "rope_theta": cfg["theta"],
        "tie_word_embeddings": True, "tokenizer_model_max_length": 2048,
        "tokenizer_padding_side": "right", "torch_dtype": "bfloat16", "use_cache": True,
        "use_mm_proj": True, "use_sliding_window": False, "vocab_size": vocab}


def read_run(path, which="ema"):
    """The trained model of a run, in evaluation mode."""
    run = torch.load(path, map_location="cpu")
    model = net.Model(run["config"], run["vocab"], data.AUX)
    model.load_state_dict(run[which])
    return model.eval(), run


def export(checkpoint, tokenizer_dir, output, which="ema"):
    model, run = read_run(checkpoint, which)
    os.makedirs(output, exist_ok=True)
    for name in TOKENIZER_FILES:
        if os.path.abspath(tokenizer_dir) != os.path.abspath(output):
            shutil.copy(os.path.join(tokenizer_dir, name), output)
    write_safetensors(os.path.join(output, "model.safetensors"), tensors(model))
    added = tok.Tokenizer(output).added
    with open(os.path.join(output, "config.json"), "w", encoding="utf-8") as f:
        f.write(json.dumps(config_json(model.cfg, run["vocab"], added), indent=2) + "\n")
    return run


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("checkpoint", help="the run's checkpoint.pt")
    ap.add_argument("output", nargs="?", default=here, help="directory of the model's files")
    ap.add_argument("--tokenizer", default=here)
    ap.add_argument("--which", choices=("ema", "model"), default="ema")
    a = ap.parse_args()
    run = export(a.checkpoint, a.tokenizer, a.output, a.which)
    size = os.path.getsize(os.path.join(a.output, "model.safetensors"))
    print(f"step {run['step']}, {run['seconds'] / 60:.0f} minutes, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

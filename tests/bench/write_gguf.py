#!/usr/bin/env python3
"""Writes a checkpoint's Qwen2 decoder as GGUF, to time llama.cpp on the same work.

    write_gguf.py CHECKPOINT q8_0|q4_0 OUT.gguf     (needs python3-numpy)

Matrices in blocks of 32 weights, vectors in f32 (ggml, docs/gguf.md and ggml-quants.c). CHECKPOINT
is one file with tied embeddings and tokenizer files, as the 0.5B.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import json
import struct
import sys

import numpy as np

GLOBAL_NAMES = {"model.embed_tokens.weight": "token_embd.weight",
                "model.norm.weight": "output_norm.weight"}
LAYER_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm"}
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # of metadata
TYPES = {"f32": (0, 4, 1), "q4_0": (2, 18, 32), "q8_0": (8, 34, 32)}  # id, bytes of so many values
NORMAL, CONTROL, UNUSED = 1, 3, 5  # kinds of tokens
ALIGNMENT = 32
CHUNK = 1 << 22  # values at a time, a multiple of 32


def read_tensors(path):
    """(name, shape, bits) of each tensor of a BF16 model.safetensors, read when looked at."""
    with open(path + "/model.safetensors", "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
    data = np.memmap(path + "/model.safetensors", np.uint8, "r", 8 + size)
    for name, tensor in header.items():
        if name != "__metadata__":
            begin, end = tensor["data_offsets"]
            yield name, tensor["shape"], data[begin:end].view(np.uint16)


def gguf_name(name):
    """What llama.cpp calls a tensor; None for the encoder's."""
    if name in GLOBAL_NAMES:
        return GLOBAL_NAMES[name]
    part = name.split(".")
    if part[:2] != ["model", "layers"]:
        return None
    return f"blk.{part[2]}.{LAYER_NAMES['.'.join(part[3:-1])]}.{part[-1]}"


def quantize(values, kind):
    """Bytes of f32 values; a block is its f16 scale and 32 numbers."""
    if kind == "f32":
        return values.tobytes()
    blocks = values.reshape(-1, 32)
    peak = blocks[np.arange(len(blocks)), np.abs(blocks).argmax(1)]
    scale = (np.abs(peak) / 127 if kind == "q8_0" else peak / -8).astype(np.float16)
    wide = scale.astype(np.float32)
    scaled = blocks * np.where(wide != 0, 1 / np.where(wide != 0, wide, 1), 0)[:, None]
    if kind == "q8_0":
        numbers = np.rint(scaled).clip(-127, 127).astype(np.int8).view(np.uint8)
    else:
        nibbles = (scaled + 8.5).astype(np.int32).clip(0, 15).astype(np.uint8)
        numbers = nibbles[:, :16] | nibbles[:, 16:] << 4
    return np.concatenate((scale[:, None].view(np.uint8), numbers), 1).tobytes()


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key, kind, value):
    head = string(key) + struct.pack("<I", kind)
    if kind == STRING:
        return head + string(value)
    if kind == ARRAY:
        element, values = value
        head += struct.pack("<IQ", element, len(values))
        return head + (b"".join(map(string, values)) if element == STRING
                       else np.array(values, np.int32).tobytes())
    return head + struct.pack({UINT32: "<I", FLOAT32: "<f", BOOL: "<?"}[kind], value)


def tokenizer_entries(path, vocab_size):
    with open(path + "/vocab.json", encoding="utf-8") as file:
        vocab = json.load(file)
    with open(path + "/added_tokens.json", encoding="utf-8") as file:
        added = json.load(file)
    with open(path + "/merges.txt", encoding="utf-8") as file:
        merges = [line for line in file.read().split("\n") if line and not line.startswith("#v")]
    tokens, kinds = [f"[PAD{i}]" for i in range(vocab_size)], [UNUSED] * vocab_size
    for names, kind in ((vocab, NORMAL), (added, CONTROL)):
        for text, index in names.items():
            if index < vocab_size:
                tokens[index], kinds[index] = text, kind
    model = "tokenizer.ggml."
    return [entry(model + "model", STRING, "gpt2"), entry(model + "pre", STRING, "qwen2"),
            entry(model + "tokens", ARRAY, (STRING, tokens)),
            entry(model + "token_type", ARRAY, (INT32, kinds)),
            entry(model + "merges", ARRAY, (STRING, merges)),
            entry(model + "eos_token_id", UINT32, added["<|im_end|>"]),
            entry(model + "add_bos_token", BOOL, False)]


def metadata(path):
    with open(path + "/config.json", encoding="utf-8") as file:
        config = json.load(file)
    numbers = {"block_count": "num_hidden_layers", "context_length": "max_position_embeddings",
               "embedding_length": "hidden_size", "feed_forward_length": "intermediate_size",
               "attention.head_count": "num_attention_heads",
               "attention.head_count_kv": "num_key_value_heads"}
    return ([entry("general.architecture", STRING, "qwen2"), entry("general.name", STRING, path)] +
            [entry("qwen2." + key, UINT32, config[name]) for key, name in numbers.items()] +
            [entry("qwen2.rope.freq_base", FLOAT32, config["rope_theta"]),
             entry("qwen2.attention.layer_norm_rms_epsilon", FLOAT32, config["rms_norm_eps"])] +
            tokenizer_entries(path, config["vocab_size"]))


def padded(data):
    return data + b"\0" * (-len(data) % ALIGNMENT)


def main():
    if len(sys.argv) != 4 or sys.argv[2] not in TYPES:
        sys.exit(__doc__)
    path, matrix_kind, out = sys.argv[1:]
    tensors = [(gguf_name(name), shape, bits) for name, shape, bits in read_tensors(path)
               if gguf_name(name)]
    entries, header, offset = metadata(path), b"", 0
    for name, shape, bits in tensors:
        kind, n_bytes, n_values = TYPES[matrix_kind if len(shape) == 2 else "f32"]
        header += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind,
                                             offset)
        offset += -(-bits.size // n_values * n_bytes // ALIGNMENT) * ALIGNMENT
    with open(out, "wb") as file:
        file.write(padded(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries)) +
                          b"".join(entries) + header))
        for _, shape, bits in tensors:
            kind = matrix_kind if len(shape) == 2 else "f32"
            for begin in range(0, bits.size, CHUNK):
                values = bits[begin:begin + CHUNK].astype(np.uint32) << 16
                file.write(quantize(values.view(np.float32), kind))
            file.write(b"\0" * (-file.tell() % ALIGNMENT))


if __name__ == "__main__":
    main()

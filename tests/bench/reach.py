#!/usr/bin/env python3
"""Times fastvlm beside the fastest other engines, taking turns, and prints a table of ratios.

    reach.py [--rounds N] [--log FILE] [--table] BUILD CHECKPOINT PEERS [PART...]

BUILD is a build directory, CHECKPOINT the 0.5B shape (build/tests/synth/make_checkpoint), PEERS the
folder that make_peers.sh filled. PARTs, all by default:

    encode-1024 encode-512 prefill decode decode-int4 gemm llava

A round of a part runs each program once, one behind the other, with the machine's ceilings, and takes
the median of each program's runs. Ratios are formed within a round; the table has their medians.
With --log, rounds are added to FILE and the table is of all that is in it; --table runs nothing.
A program that fails leaves its cells empty and is told of on stderr; the exit status is then 1.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
THREADS = "2"
N_RUNS = 3  # of each program in a round, behind one that warms up

ENCODE_GOP = 474  # products and attention of an encode at 1024 px
TOKEN_GOP = 0.716  # products of a prompt token, 0.5B, without the head
BODY_WEIGHTS, HEAD_WEIGHTS = 357.8e6, 136.1e6  # read for each token of an answer, 0.5B
# Bits of a weight in memory: int8 has its scales per channel, int4 an f16 for 32.
BYTES_OF_TOKEN = {"int8": BODY_WEIGHTS + HEAD_WEIGHTS, "int4": BODY_WEIGHTS * 4.5 / 8 + HEAD_WEIGHTS}
N_TILES, N_TILE_TOKENS = 10, 7290  # LLaVA-OneVision at 1152 px
LARGE_ROWS = 256  # products of so many rows are the encoder's and the prefill's


class Machine:
    """Where the programs lie and how they are run."""

    def __init__(self, build, checkpoint, peers):
        self.build, self.checkpoint = os.path.abspath(build), os.path.abspath(checkpoint)
        self.peers = os.path.abspath(peers)
        self.failed = False
        # Some machines hold OpenBLAS to slower kernels than theirs by these.
        held = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
        self.env = {k: v for k, v in os.environ.items() if k not in held}
        self.env["NODE_PATH"] = self.peers + "/node_modules"

    def run(self, *command):
        done = subprocess.run(command, cwd=self.peers, env=self.env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            self.failed = True
            lines = done.stderr.strip().splitlines() or ["no message"]
            said = next((line for line in lines if "rror" in line), lines[-1])
            print(f"reach: {' '.join(command)}: {said}", file=sys.stderr)
            return None
        return done.stdout

    def ours(self, precision, resolution, n_decode, n_runs=N_RUNS):
        """{figure: median, "best figure": of all runs}, with a prompt of 280 tokens."""
        text = self.run(self.build + "/engine/tools/fastvlm", "bench", "--json", "--model",
                        self.checkpoint, "--precision", precision, "--threads", THREADS,
                        "--resolution", str(resolution), "--prompt-tokens", "280",
                        "--decode-tokens", str(n_decode), "--runs", str(n_runs))
        report = json.loads(text) if text else {}
        figures = {k: v for k, v in report.items() if isinstance(v, dict)}
        best = {"best " + k: v["max" if k.endswith("tok_s") else "min"] for k, v in figures.items()}
        return {**{k: v["median"] for k, v in figures.items()}, **best}

    def ours_by_ceilings(self, precision, figure, *arguments):
        """Ours, with `figure` and its best under the precision's name, and the ceilings as they were on
        average before and behind it: what memory reads changes by the minute. Ceilings are the best of
        some runs, so the best of ours is what has a share of them."""
        before = self.ceilings()
        ours = self.ours(precision, *arguments)
        after = self.ceilings()
        values = {k: (v + after.get(k, v)) / 2 for k, v in before.items()}
        return {**ours, **values, precision: ours.get(figure),
                "best " + precision: ours.get("best " + figure)}

    def onnxruntime_ms(self, model, shape, n_runs=N_RUNS):
        text = self.run("node", HERE + "/onnxruntime.js", model, shape, THREADS, str(n_runs))
        return statistics.median(map(float, text.split())) if text else None

    def llama(self, model, n_prompt=280, n_new=48, n_runs=N_RUNS):
        text = self.run("node", HERE + "/llama_cpp.mjs", model, THREADS, str(n_prompt), str(n_new),
                        str(n_runs))
        return {k: statistics.median(v) for k, v in json.loads(text).items()} if text else {}

    def ceilings(self):
        """{"ceiling f32": Gop/s, .., "ceiling read": GB/s}."""
        text = self.run(self.build + "/tests/kernels/bench_ceilings") or ""
        return {"ceiling " + name: float(value)
                for name, value in re.findall(r"(?m)^(\w+) ([\d.]+) G", text)}


def encode(machine, side):
    n_runs = 2 if side == 1024 else 5
    shape = f"1,3,{side},{side}"
    # 280 tokens hold the 256 rows of a picture of 1024 px.
    values = machine.ours_by_ceilings("int8", "encode_ms", side, 2)
    values["preprocess"], values["peak MB"] = values.get("preprocess_ms"), values.get("peak_rss_mb")
    values["ORT int8"] = machine.onnxruntime_ms(f"encoder-{side}-int8.onnx", shape, n_runs)
    values["bf16"] = machine.ours("bf16", side, 2, n_runs).get("encode_ms")
    values["ORT f32"] = machine.onnxruntime_ms(f"encoder-{side}-f32.onnx", shape, n_runs)
    return values


def prefill(machine):
    values = machine.ours_by_ceilings("int8", "prefill_tok_s", 256, 2)
    ms = machine.onnxruntime_ms("decoder-280-int8.onnx", "1,280,896", 5)
    values["ORT int8"] = ms and 280e3 / ms
    values["llama.cpp Q4_0"] = machine.llama("decoder-q4_0.gguf", n_new=2).get("prefill_tok_s")
    values["bf16"] = machine.ours("bf16", 256, 2).get("prefill_tok_s")
    return values


def decode(machine):
    values = machine.ours_by_ceilings("int8", "decode_tok_s", 256, 48)
    values["llama.cpp Q8_0"] = machine.llama("decoder-q8_0.gguf").get("decode_tok_s")
    body = machine.onnxruntime_ms("decoder-1-int8.onnx", "1,1,896", 30)
    head = machine.onnxruntime_ms("head-int8.onnx", "1,1,896", 30)
    values["ORT int8"] = body and head and 1e3 / (body + head)
    return values


def decode_int4(machine):
    values = machine.ours_by_ceilings("int4", "decode_tok_s", 256, 48)
    values["llama.cpp Q4_0"] = machine.llama("decoder-q4_0.gguf").get("decode_tok_s")
    return values


def gemm(machine):
    """The least share of the ceiling that any large product reaches, by type."""
    values = machine.ceilings()
    tier = json.loads(machine.run(machine.build + "/engine/tools/fastvlm", "info", "--json",
                                  "--model", machine.checkpoint) or "{}").get("cpu_tier", "")
    text = machine.run(machine.build + "/tests/kernels/bench_kernels", tier, "gemm") or ""
    pattern = r"(?m)^\w+ +gemm_(\w+) +(\S.*?) +(\d+) x +(\d+) x +(\d+) +([\d.]+) Gop/s"
    for name, what, n_rows, _, _, rate in re.findall(pattern, text):
        if int(n_rows) >= LARGE_ROWS:
            values[f"{name} {what}"] = float(rate)
    return values


def llava(machine):
    values = {"tile": machine.onnxruntime_ms("siglip-384-f32.onnx", "1,3,384,384")}
    values["tokens"] = machine.llama("decoder-q4_0.gguf", N_TILE_TOKENS, 1, 0).get("prefill_tok_s")
    values["first token"] = machine.ours("int8", 1024, 2).get("ttft_ms")
    return values


PARTS = {
    "encode-1024": lambda machine: encode(machine, 1024),
    "encode-512": lambda machine: encode(machine, 512),
    "prefill": prefill,
    "decode": decode,
    "decode-int4": decode_int4,
    "gemm": gemm,
    "llava": llava,
}


def read_share(precision):
    return lambda v: v["best " + precision] * BYTES_OF_TOKEN[precision] / 1e9 / v["ceiling read"]


def least_share(name):
    def share(v):
        shapes = [k for k in v if k.startswith(name + " ")]
        return min(v[k] for k in shapes) / v["ceiling " + name]
    return share


def llava_ratio(v):
    theirs_s = N_TILES * v["tile"] / 1e3 + N_TILE_TOKENS / v["tokens"]
    return theirs_s / (v["first token"] / 1e3)


def encode_claims(side):
    part = f"encode-{side}"
    return [
        (part, f"encode {side} px, int8", "ms", "int8", "ORT int8", "x", 1.6,
         lambda v: v["ORT int8"] / v["int8"]),
        (part, f"encode {side} px, int8", "ms", "int8", "ORT f32", "x", 3.0,
         lambda v: v["ORT f32"] / v["int8"]),
        (part, f"encode {side} px, bf16", "ms", "bf16", "ORT f32", "x", 1.8,
         lambda v: v["ORT f32"] / v["bf16"]),
    ]


# part, what, unit, ours, beside, kind of ratio, reach, ratio of a round's values
CLAIMS = encode_claims(1024) + [
    ("encode-1024", "encode 1024 px as 474 Gop, its best", "ms", "best int8", "ceiling int8", "share",
     0.55, lambda v: ENCODE_GOP / (v["best int8"] / 1e3) / v["ceiling int8"]),
    ("encode-1024", "1080p to 1024 px, of the encode", "ms", "preprocess", "int8", "at most", 0.05,
     lambda v: v["preprocess"] / v["int8"]),
    ("encode-1024", "peak memory, int8, GB", "MB", "peak MB", None, "at most", 1.0,
     lambda v: v["peak MB"] / 1e3),
] + encode_claims(512) + [
    ("prefill", "prefill 280, int8", "tok/s", "int8", "ORT int8", "x", 1.4,
     lambda v: v["int8"] / v["ORT int8"]),
    ("prefill", "prefill 280, int8", "tok/s", "int8", "llama.cpp Q4_0", "x", 3.0,
     lambda v: v["int8"] / v["llama.cpp Q4_0"]),
    ("prefill", "prefill 280, int8, its best", "tok/s", "best int8", "ceiling int8", "share", 0.65,
     lambda v: v["best int8"] * TOKEN_GOP / v["ceiling int8"]),
    ("decode", "decode, int8", "tok/s", "int8", "llama.cpp Q8_0", "x", 1.6,
     lambda v: v["int8"] / v["llama.cpp Q8_0"]),
    ("decode", "decode, int8", "tok/s", "int8", "ORT int8", "x", 1.3,
     lambda v: v["int8"] / v["ORT int8"]),
    ("decode", "decode, int8, its best", "tok/s", "best int8", "ceiling read", "share", 0.85,
     read_share("int8")),
    ("decode-int4", "decode, int4", "tok/s", "int4", "llama.cpp Q4_0", "x", 2.0,
     lambda v: v["int4"] / v["llama.cpp Q4_0"]),
    ("decode-int4", "decode, int4, its best", "tok/s", "best int4", "ceiling read", "share", 0.85,
     read_share("int4")),
] + [
    ("gemm", f"products of {LARGE_ROWS} rows and more, {name}: the least", "Gop/s", None,
     "ceiling " + name, "share", 0.85, least_share(name)) for name in ("int8", "bf16", "f32")
] + [
    ("llava", "first token, 1024 px, to LLaVA-OneVision 1152 px", "ms", "first token", None, "x", 75.0,
     llava_ratio),
]


def median_of(rounds, key):
    values = [r[key] for r in rounds if r.get(key) is not None]
    return f"{statistics.median(values):.4g}" if values else ""


def ratio_of(rounds, ratio):
    values = []
    for values_of_round in rounds:
        try:
            values.append(ratio(values_of_round))
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            pass  # a program failed in that round
    return values


def print_table(log):
    print("| what | ours | beside | that one | ratio | least..greatest | reach | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for part, what, unit, ours, beside, kind, reach, ratio in CLAIMS:
        rounds = [entry["values"] for entry in log if entry["part"] == part]
        values = ratio_of(rounds, ratio)
        if not values:
            continue
        median = statistics.median(values)
        met = median <= reach if kind == "at most" else median >= reach
        of_ours = f"{median_of(rounds, ours)} {unit}" if ours else ""
        print(f"| {what} | {of_ours} | {beside or ''} | {median_of(rounds, beside)} | {median:.2f} "
              f"| {min(values):.2f}..{max(values):.2f} | {kind} {reach} | {'yes' if met else 'no'} |")
    for entry in [e for e in log if e["part"] == "llava"][-1:]:
        v = entry["values"]
        print(f"\nLLaVA-OneVision: {N_TILES} tiles of {v['tile']} ms and {N_TILE_TOKENS} tokens at "
              f"{v['tokens']} tok/s, added up.")


def print_products(log):
    rounds = [entry["values"] for entry in log if entry["part"] == "gemm"]
    if not rounds:
        return
    print("\n| product | Gop/s | share of the ceiling |\n| --- | --- | --- |")
    for key in rounds[0]:
        name = key.split()[0]
        if "ceiling " + name not in rounds[0]:  # a ceiling itself, or a type that has none
            continue
        values = [r[key] / r["ceiling " + name] for r in rounds if key in r]
        print(f"| {key} | {median_of(rounds, key)} | {statistics.median(values):.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--log")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("build")
    parser.add_argument("checkpoint")
    parser.add_argument("peers")
    parser.add_argument("parts", nargs="*", metavar="PART")
    args = parser.parse_args()
    for part in args.parts:
        if part not in PARTS:
            parser.error(f"found part \"{part}\", expected some of {', '.join(PARTS)}")
    machine = Machine(args.build, args.checkpoint, args.peers)
    log = []
    if args.log and os.path.exists(args.log):
        with open(args.log, encoding="utf-8") as file:
            log = [json.loads(line) for line in file]
    for part in [] if args.table else args.parts or PARTS:
        for _ in range(args.rounds):
            log.append({"part": part, "values": PARTS[part](machine)})
            if args.log:
                with open(args.log, "a", encoding="utf-8") as file:
                    file.write(json.dumps(log[-1]) + "\n")
    print_table(log)
    if args.table or "gemm" in (args.parts or PARTS):
        print_products(log)
    sys.exit(1 if machine.failed else 0)


if __name__ == "__main__":
    main()

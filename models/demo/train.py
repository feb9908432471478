#!/usr/bin/env python3
"""Train the demo model: draws its scenes as it goes, on CPU, resumable.

    data.batch (worker process) -> Model -> answers' cross-entropy + 0.5 aux -> AdamW -> EMA

Writes checkpoint.pt to the run's directory every few minutes; started again it goes on there.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import argparse
import copy
import json
import math
import multiprocessing as mp
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

import data
import net
import patterns
import scenes
import tokenizer as tok


def parse_kinds(text):
    """'shapes=58,number=20' -> the weights of the kinds of scenes."""
    return tuple((k, float(v)) for k, v in (p.split("=") for p in text.split(",")))


def produce(queue, a, start, part):
    """Worker process: batches part, part + workers, ... from `start` on."""
    os.nice(a.worker_nice)
    torch.set_num_threads(1)
    cache = patterns.load(a.patterns, "train")
    t = tok.Tokenizer(a.tokenizer)
    for step in range(start + part, a.steps, a.workers):
        queue.put(data.batch("train", step * a.batch, a.batch, cache, t, a.questions,
                             parse_kinds(a.kinds)))


def attention_mask(segment):
    """[B,1,T,T] float: prefix and image causally, each question sees them and itself."""
    t = segment.shape[1]
    causal = torch.ones(t, t, dtype=torch.bool).tril()
    q, k = segment[:, :, None], segment[:, None]
    see = ((k == 0) | (k == q)) & causal
    return torch.zeros(see.shape).masked_fill_(~see, -1e9)[:, None]


def aux_loss(model, rows, cells, whole):
    """Shape, colour, size and digit of each small cell; kind and background of the picture."""
    b, g = cells.shape[0], data.GRID
    out = model.aux_cells(rows).view(b, g // 2, g // 2, 2, 2, -1).transpose(2, 3)
    out = out.reshape(b * g * g, -1).split(data.AUX_SIZES, 1)
    loss, flat = 0.0, cells.view(b * g * g, 4)
    for i, logits in enumerate(out):
        weight = torch.full((logits.shape[1],), 1.0)
        weight[0] = 0.08
        loss = loss + F.cross_entropy(logits, flat[:, i], weight)
    a, c = model.aux_whole(rows.mean(1)).split((len(data.WHOLE), len(data.words.BACKGROUNDS)), 1)
    loss = loss + 0.5 * F.cross_entropy(a, whole[:, 0])
    return loss + 0.5 * F.cross_entropy(c, whole[:, 1], ignore_index=-1)


def losses(model, arrays):
    """Cross-entropy of the answers, and the auxiliary loss."""
    pixels, ids, positions, segment, target, weight, cells, whole = map(torch.from_numpy, arrays)
    x = (pixels.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)
    rows = model.see(x)
    at = int((segment[0] == 0).sum()) - data.ROWS
    h = model.read(ids, rows, at, positions.float(), attention_mask(segment))
    say = target >= 0
    logits = h[say] @ model.embed.weight.T
    each = F.cross_entropy(logits, target[say], reduction="none")
    return (each * weight[say]).sum() / weight[say].sum(), aux_loss(model, rows, cells, whole)


def rate(step, a):
    """Warm-up, then a cosine to 1 % of the peak."""
    if step < a.warmup:
        return a.lr * (step + 1) / a.warmup
    t = (step - a.warmup) / max(1, a.steps - a.warmup)
    return a.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1, t))))


def average(ema, model, step):
    """Move the averaged copy, BatchNorm's statistics too, a little towards the model."""
    keep = min(0.998, (1 + step) / (10 + step))
    with torch.no_grad():
        for e, m in zip(ema.state_dict().values(), model.state_dict().values()):
            if e.dtype.is_floating_point:
                e.mul_(keep).add_(m, alpha=1 - keep)
            else:
                e.copy_(m)


def make_optimizer(model, lr):
    big = [p for p in model.parameters() if p.ndim >= 2]
    small = [p for p in model.parameters() if p.ndim < 2]
    return torch.optim.AdamW([{"params": big, "weight_decay": 0.03},
                              {"params": small, "weight_decay": 0.0}], lr, betas=(0.9, 0.98))


def save(path, model, ema, optimizer, step, seconds, vocab):
    torch.save({"model": model.state_dict(), "ema": ema.state_dict(), "step": step,
                "optimizer": optimizer.state_dict(), "seconds": seconds, "vocab": vocab,
                "config": net.CONFIG}, path + ".new")
    os.replace(path + ".new", path)


def log_line(path, **values):
    with open(path, "a") as f:
        f.write(json.dumps(values) + "\n")


def run(a):
    torch.manual_seed(1)
    torch.set_num_threads(a.threads)
    os.makedirs(a.run, exist_ok=True)
    path, log = os.path.join(a.run, "checkpoint.pt"), os.path.join(a.run, "log.jsonl")
    vocab = -(-len(tok.Tokenizer(a.tokenizer)) // 64) * 64
    model = net.Model(net.CONFIG, vocab, data.AUX).to(memory_format=torch.channels_last)
    ema, optimizer = copy.deepcopy(model), make_optimizer(model, a.lr)
    first, before = 0, 0.0
    if os.path.exists(path):
        old = torch.load(path)
        model.load_state_dict(old["model"])
        ema.load_state_dict(old["ema"])
        optimizer.load_state_dict(old["optimizer"])
        first, before = old["step"], old["seconds"]
    print(sum(p.numel() for p in model.parameters()), "parameters, from step", first, flush=True)
    queues = [mp.Queue(3) for _ in range(a.workers)]
    for part, q in enumerate(queues):
        mp.Process(target=produce, args=(q, a, first, part), daemon=True).start()
    begin, saved, sums = time.time(), time.time(), []
    for step in range(first, a.steps):
        arrays = queues[(step - first) % a.workers].get()
        for group in optimizer.param_groups:
            group["lr"] = rate(step, a)
        say, aux = losses(model, arrays)
        optimizer.zero_grad(set_to_none=True)
        (say + 0.5 * aux).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average(ema, model, step)
        sums.append((say.item(), aux.item()))
        seconds = before + time.time() - begin
        if step % 20 == 19:
            say, aux = np.mean(sums, 0)
            sums = []
            log_line(log, step=step + 1, answer=round(say, 4), aux=round(aux, 4),
                     lr=rate(step, a), seconds=round(seconds))
        if time.time() - saved > a.save_every or step == a.steps - 1:
            save(path, model, ema, optimizer, step + 1, seconds, vocab)
            saved = time.time()


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("run", help="directory of the run: checkpoint.pt and log.jsonl")
    ap.add_argument("--patterns", required=True, help="the patterns' .npz file")
    ap.add_argument("--tokenizer", default=os.path.dirname(os.path.abspath(__file__)))
    ap.add_argument("--steps", type=int, default=4000)
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--questions", type=int, default=4, help="questions a picture")
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--warmup", type=int, default=150)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--workers", type=int, default=1)
    ap.add_argument("--worker-nice", type=int, default=2)
    ap.add_argument("--save-every", type=float, default=240, help="seconds")
    ap.add_argument("--kinds", default=",".join(f"{k}={w}" for k, w in scenes.KINDS))
    run(ap.parse_args())


if __name__ == "__main__":
    main()

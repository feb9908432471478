#!/usr/bin/env python3
"""Train the demo model: draws its scenes as it goes, on CPU, resumable.

    data.batch (worker process) -> Model -> answers' cross-entropy + aux -> AdamW -> EMA

Two processes share each batch, a thread each: on busy machines that loses less than two threads.

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


def produce(queue, a, start, rank):
    """Worker process: this rank's share of every batch from step `start` on."""
    os.nice(a.worker_nice)
    torch.set_num_threads(1)
    cache = patterns.load(a.patterns, "train")
    t = tok.Tokenizer(a.tokenizer)
    share = a.batch // a.ranks
    for step in range(start, a.steps):
        queue.put(data.batch("train", step * a.batch + rank * share, share, cache, t, a.questions,
                             parse_kinds(a.kinds)))


def attention_mask(segment):
    """[B,1,T,T] float: prefix and image causally, each question sees them and itself."""
    t = segment.shape[1]
    causal = torch.ones(t, t, dtype=torch.bool).tril()
    q, k = segment[:, :, None], segment[:, None]
    see = ((k == 0) | (k == q)) & causal
    return torch.zeros(see.shape).masked_fill_(~see, -1e9)[:, None]


def cell_loss(logits, flat, sizes, presence):
    """Classes of cells: logits [N, sum of sizes], targets int [N, len(sizes)], 0 for none.

    Whether something is there is learned apart from what it is: together, the many empty cells
    drown shape and colour out.
    """
    loss = 0.0
    for i, part in enumerate(logits.split(sizes, 1)):
        on = flat[:, i] > 0
        if i in presence:
            there = part[:, 1:].logsumexp(1) - part[:, 0]
            weight = torch.where(on, 1.0, 0.1)
            loss = loss + F.binary_cross_entropy_with_logits(
                there, on.float(), weight, reduction="sum") / weight.sum()
        if on.any():
            loss = loss + F.cross_entropy(part[on, 1:], flat[on, i] - 1)
    return loss


def aux_loss(model, rows, taps, whole, grids):
    """What each cell holds, read off the image rows and off earlier maps; and the whole picture."""
    g, n = data.GRIDS[1], len(data.AUX_SIZES)
    loss = 0.0
    for head, sizes, part in ((model.aux_cells, data.AUX_SIZES, slice(0, n)),
                              (model.aux_more, data.MORE_SIZES, slice(n, None))):
        out = head(rows).view(len(rows), g // 2, g // 2, 2, 2, -1).transpose(2, 3)
        loss = loss + cell_loss(out.reshape(len(rows) * g * g, -1),
                                grids[1].flatten(0, 2)[:, part], sizes, () if part.start else (0, 3))
    for head, x, cells in zip(model.aux_taps, taps, grids):
        if not x.requires_grad:
            continue
        loss = loss + cell_loss(head(x).permute(0, 2, 3, 1).flatten(0, 2),
                                cells.flatten(0, 2)[:, :n], data.AUX_SIZES, (0, 3))
    a, c = model.aux_whole(rows.mean(1)).split((len(data.WHOLE), len(data.words.BACKGROUNDS)), 1)
    loss = loss + 0.5 * F.cross_entropy(a, whole[:, 0])
    return loss + 0.5 * F.cross_entropy(c, whole[:, 1], ignore_index=-1)


def losses(model, arrays, answers=True):
    """Cross-entropy of the answers (0 where not asked for), and the auxiliary loss."""
    arrays = [torch.from_numpy(x) for x in arrays]
    pixels, ids, positions, segment, target, weight, whole = arrays[:7]
    x = (pixels.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)
    taps = []
    rows = model.see(x, taps)
    aux = aux_loss(model, rows, taps, whole, arrays[7:])
    if not answers:
        return torch.zeros(()), aux
    at = int((segment[0] == 0).sum()) - data.ROWS
    h = model.read(ids, rows, at, positions.float(), attention_mask(segment))
    say = target >= 0
    logits = h[say] @ model.embed.weight.T
    each = F.cross_entropy(logits, target[say], reduction="none")
    return (each * weight[say]).sum() / weight[say].sum(), aux


def progress(step, seconds, a):
    """How much of the run is done, 0..1: by its steps, or by the clock where that ends it."""
    return max(step / a.steps, seconds / (60 * a.minutes) if a.minutes else 0)


def rate(step, done, a):
    """Warm-up, then a cosine to 1 % of the peak."""
    cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1, done)))
    return a.lr * min(1, (step + 1) / a.warmup) * cosine


class Exchange:
    """Gradients of all ranks, averaged through shared memory; two buffers take turns."""

    def __init__(self, model, ranks):
        size = sum(p.numel() for p in model.parameters())
        self.buffers = [torch.zeros(ranks, size).share_memory_() for _ in range(2)]
        self.clock = torch.zeros(2, dtype=torch.float64).share_memory_()
        self.barrier = mp.Barrier(ranks)

    def average(self, model, rank, step):
        """Every rank ends with the same gradients."""
        buffer, at = self.buffers[step % 2], 0
        with torch.no_grad():
            for p in model.parameters():
                if p.grad is not None:
                    buffer[rank, at:at + p.numel()] = p.grad.reshape(-1)
                at += p.numel()
            self.barrier.wait()
            mean, at = buffer.mean(0), 0
            for p in model.parameters():
                if p.grad is not None:
                    p.grad.copy_(mean[at:at + p.numel()].view_as(p))
                at += p.numel()


def average(ema, model, step):
    """Move the averaged copy, BatchNorm's statistics too, a little towards the model."""
    keep = min(0.998, (1 + step) / (10 + step))
    with torch.no_grad():
        for e, m in zip(ema.state_dict().values(), model.state_dict().values()):
            if e.dtype.is_floating_point:
                e.mul_(keep).add_(m, alpha=1 - keep)
            else:
                e.copy_(m)


def freeze(model, ema):
    """Keep the encoder up to stage 3 as averaged: what it knows is read off the later parts."""
    early = [model.encoder.stem, *model.encoder.network[:8]]
    averaged = [ema.encoder.stem, *ema.encoder.network[:8]]
    for part, source in zip(early, averaged):
        part.load_state_dict(source.state_dict())
        part.eval().requires_grad_(False)


def make_optimizer(model, lr):
    big = [p for p in model.parameters() if p.ndim >= 2]
    small = [p for p in model.parameters() if p.ndim < 2]
    return torch.optim.AdamW([{"params": big, "weight_decay": 0.03},
                              {"params": small, "weight_decay": 0.0}], lr, betas=(0.9, 0.98))


def save(path, model, ema, optimizer, step, seconds):
    torch.save({"model": model.state_dict(), "ema": ema.state_dict(), "step": step,
                "optimizer": optimizer.state_dict(), "seconds": seconds,
                "vocab": model.embed.num_embeddings, "config": net.CONFIG}, path + ".new")
    os.replace(path + ".new", path)


def log_line(path, **values):
    with open(path, "a") as f:
        f.write(json.dumps(values) + "\n")


def start(a):
    """Model, average, optimizer, first step, seconds so far: new, or as the run left them."""
    vocab = -(-len(tok.Tokenizer(a.tokenizer)) // 64) * 64
    torch.manual_seed(1)
    model = net.Model(net.CONFIG, vocab, data.AUX).to(memory_format=torch.channels_last)
    ema, optimizer = copy.deepcopy(model), make_optimizer(model, a.lr)
    path = os.path.join(a.run, "checkpoint.pt")
    if not os.path.exists(path):
        return model, ema, optimizer, 0, 0.0
    old = torch.load(path)
    model.load_state_dict(old["model"])
    ema.load_state_dict(old["ema"])
    optimizer.load_state_dict(old["optimizer"])
    return model, ema, optimizer, old["step"], old["seconds"]


def one_step(model, optimizer, arrays, exchange, rank, step, lr, a):
    """Forward, backward, average, update; the two losses."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    answers = step >= a.see_first
    say, aux = losses(model, arrays, answers)
    optimizer.zero_grad(set_to_none=True)
    (say + a.aux * aux).backward()
    exchange.average(model, rank, step)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return say.item(), aux.item()


def work(a, exchange, rank):
    """One rank: a thread of its own, its share of each batch. Rank 0 keeps the books."""
    torch.set_num_threads(a.threads)
    model, ema, optimizer, first, before = start(a)
    queue, begin = mp.Queue(3), time.time()
    mp.Process(target=produce, args=(queue, a, first, rank), daemon=True).start()
    saved, sums, log = begin, [], os.path.join(a.run, "log.jsonl")
    exchange.clock[first % 2] = before
    exchange.barrier.wait()
    for step in range(first, a.steps):
        seconds = float(exchange.clock[step % 2])
        done = progress(step, seconds, a)
        if done >= 1:
            break
        if rank == 0:
            exchange.clock[(step + 1) % 2] = before + time.time() - begin
        lr = rate(step, done, a)
        if step >= a.freeze_at and model.encoder.stem.training:
            freeze(model, ema)
        sums.append(one_step(model, optimizer, queue.get(), exchange, rank, step, lr, a))
        average(ema, model, step)
        if rank:
            continue
        if step % 20 == 19:
            say, aux = np.mean(sums, 0)
            sums = []
            log_line(log, step=step + 1, answer=round(say, 4), aux=round(aux, 4), lr=lr,
                     seconds=round(seconds))
        if time.time() - saved > a.save_every:
            save(os.path.join(a.run, "checkpoint.pt"), model, ema, optimizer, step + 1, seconds)
            saved = time.time()
    if rank == 0:
        save(os.path.join(a.run, "checkpoint.pt"), model, ema, optimizer, step + 1, seconds)


def run(a):
    os.makedirs(a.run, exist_ok=True)
    model, _, _, first, before = start(a)
    print(sum(p.numel() for p in model.parameters()), "parameters, from step", first,
          "after", round(before / 60), "minutes", flush=True)
    exchange = Exchange(model, a.ranks)
    ranks = [mp.Process(target=work, args=(a, exchange, r)) for r in range(a.ranks)]
    for p in ranks:
        p.start()
    for p in ranks:
        p.join()
    if any(p.exitcode for p in ranks):
        raise SystemExit("training stopped early")


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("run", help="directory of the run: checkpoint.pt and log.jsonl")
    ap.add_argument("--patterns", required=True, help="the patterns' .npz file")
    ap.add_argument("--tokenizer", default=os.path.dirname(os.path.abspath(__file__)))
    ap.add_argument("--steps", type=int, default=4600)
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--questions", type=int, default=4, help="questions a picture")
    ap.add_argument("--lr", type=float, default=1.3e-3)
    ap.add_argument("--warmup", type=int, default=40)
    ap.add_argument("--aux", type=float, default=0.2, help="weight of the auxiliary loss")
    ap.add_argument("--see-first", type=int, default=475,
                    help="steps that train the encoder alone, by the auxiliary loss")
    ap.add_argument("--freeze-at", type=int, default=2000,
                    help="step from which the encoder's first stages stay as they are")
    ap.add_argument("--minutes", type=float, default=0, help="end by the clock (0: by steps)")
    ap.add_argument("--ranks", type=int, default=2, help="processes that share a batch")
    ap.add_argument("--threads", type=int, default=1, help="threads of each")
    ap.add_argument("--worker-nice", type=int, default=2)
    ap.add_argument("--save-every", type=float, default=240, help="seconds")
    ap.add_argument("--kinds", default=",".join(f"{k}={w}" for k, w in scenes.KINDS))
    run(ap.parse_args())


if __name__ == "__main__":
    main()

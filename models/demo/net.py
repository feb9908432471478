"""The demo model in PyTorch as it is trained: FastViTHD, projector and Qwen2, small.

    pixels [B,3,256,256] -> Encoder -> [B,16,2*dims[4]] -> projector -> [B,16,hidden]
    ids + image rows -> Decoder -> logits

BatchNorm stands behind every convolution here; export.py folds it into the convolution, so that
the file has the released layout. Only the ConvFFN's own norm stays.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIG = {"layers": [1, 1, 2, 2, 1], "dims": [16, 32, 64, 128, 256], "hidden": 128, "n_layers": 4,
          "heads": 4, "kv": 2, "ffn": 256, "theta": 10000.0, "eps": 1e-6, "image": 256}


class ConvBN(nn.Module):
    """A convolution with BatchNorm behind it, and the identity beside it where asked."""

    def __init__(self, cin, cout, k, stride=1, groups=1, identity=False):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, k, stride, k // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(cout)
        self.identity = identity

    def forward(self, x):
        y = self.bn(self.conv(x))
        return x + y if self.identity else y


class ConvFFN(nn.Module):
    """dw7x7 -> BN -> 1x1 to 4C -> GELU -> 1x1 to C."""

    def __init__(self, c):
        super().__init__()
        self.conv = ConvBN(c, c, 7, groups=c)
        self.fc1 = ConvBN(c, 4 * c, 1)
        self.fc2 = ConvBN(4 * c, c, 1)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(self.conv(x))))


class RepMixerBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.mixer = ConvBN(c, c, 3, groups=c, identity=True)
        self.convffn = ConvFFN(c)
        self.scale = nn.Parameter(torch.full((c, 1, 1), 0.5))

    def forward(self, x):
        x = self.mixer(x)
        return x + self.scale * self.convffn(x)


class AttentionBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = nn.LayerNorm(c, eps=1e-5)
        self.qkv = nn.Linear(c, 3 * c, bias=False)
        self.proj = nn.Linear(c, c)
        self.convffn = ConvFFN(c)
        self.scale1 = nn.Parameter(torch.full((c, 1, 1), 0.5))
        self.scale2 = nn.Parameter(torch.full((c, 1, 1), 0.5))

    def attend(self, x):
        b, c, h, w = x.shape
        t = self.norm(x.flatten(2).transpose(1, 2))
        q, k, v = self.qkv(t).view(b, h * w, 3, c // 32, 32).permute(2, 0, 3, 1, 4)
        a = ((q * 32 ** -0.5) @ k.transpose(-1, -2)).softmax(-1)
        t = self.proj((a @ v).transpose(1, 2).reshape(b, h * w, c))
        return t.transpose(1, 2).reshape(b, c, h, w)

    def forward(self, x):
        x = x + self.scale1 * self.attend(x)
        return x + self.scale2 * self.convffn(x)


class PatchEmbed(nn.Module):
    """Halves the side, doubles the channels."""

    def __init__(self, c):
        super().__init__()
        self.lkb = ConvBN(c, 2 * c, 7, 2, groups=c)
        self.point = ConvBN(2 * c, 2 * c, 1)

    def forward(self, x):
        return F.gelu(self.point(F.gelu(self.lkb(x))))


class ConvExp(nn.Module):
    """Grouped 3x3 to twice the channels, squeeze-and-excite, GELU."""

    def __init__(self, c):
        super().__init__()
        self.conv = ConvBN(c, 2 * c, 3, groups=c)
        self.reduce = nn.Conv2d(2 * c, c // 8, 1)
        self.expand = nn.Conv2d(c // 8, 2 * c, 1)

    def forward(self, x):
        x = self.conv(x)
        s = F.relu(self.reduce(x.mean((2, 3), keepdim=True)))
        return F.gelu(x * torch.sigmoid(self.expand(s)))


class Encoder(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        d = cfg["dims"]
        self.stem = nn.ModuleList([ConvBN(3, d[0], 3, 2), ConvBN(d[0], d[0], 3, 2, groups=d[0]),
                                   ConvBN(d[0], d[0], 1)])
        network = []
        for s, (c, n) in enumerate(zip(d, cfg["layers"])):
            if s >= 3:
                network.append(ConvBN(c, c, 7, groups=c, identity=True))
            block = RepMixerBlock if s < 3 else AttentionBlock
            network.append(nn.Sequential(*[block(c) for _ in range(n)]))
            if s < 4:
                network.append(PatchEmbed(c))
        self.network = nn.ModuleList(network)
        self.exp = ConvExp(d[4])

    def forward(self, x, taps=None):
        """Features [B,N,2*dims[4]]; the maps after stages 2 and 3 go to `taps` where given."""
        for conv in self.stem:
            x = F.gelu(conv(x))
        for i, part in enumerate(self.network):
            x = part(x)
            if taps is not None and i in (4, 7):
                taps.append(x)
        return self.exp(x).flatten(2).transpose(1, 2)


def rms(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def rope(positions, width, theta):
    """cos and sin, [B, 1, T, width], for rotate-half."""
    inv = theta ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    angle = torch.cat([positions[:, None, :, None] * inv] * 2, -1)
    return angle.cos(), angle.sin()


def rotate(t, turn):
    a, b = t.chunk(2, -1)
    return t * turn[0] + torch.cat([-b, a], -1) * turn[1]


class Layer(nn.Module):
    """One Qwen2 layer."""

    def __init__(self, cfg):
        super().__init__()
        h, w = cfg["hidden"], cfg["hidden"] // cfg["heads"]
        self.heads, self.kv, self.width, self.eps = cfg["heads"], cfg["kv"], w, cfg["eps"]
        self.norm1 = nn.Parameter(torch.ones(h))
        self.norm2 = nn.Parameter(torch.ones(h))
        self.q = nn.Linear(h, h)
        self.k = nn.Linear(h, self.kv * w)
        self.v = nn.Linear(h, self.kv * w)
        self.o = nn.Linear(h, h, bias=False)
        self.gate = nn.Linear(h, cfg["ffn"], bias=False)
        self.up = nn.Linear(h, cfg["ffn"], bias=False)
        self.down = nn.Linear(cfg["ffn"], h, bias=False)

    def attend(self, x, turn, mask):
        b, t, h = x.shape
        weight = torch.cat([self.q.weight, self.k.weight, self.v.weight])
        bias = torch.cat([self.q.bias, self.k.bias, self.v.bias])
        y = (F.linear(x, weight) + bias).view(b, t, -1, self.width).transpose(1, 2)
        q, k, v = y.split((self.heads, self.kv, self.kv), 1)
        q = rotate(q, turn).reshape(b, self.kv, -1, t, self.width)
        k = rotate(k, turn)[:, :, None].expand_as(q)
        v = v[:, :, None].expand_as(q)
        a = (q @ k.transpose(-1, -2) * self.width ** -0.5 + mask[:, None]).softmax(-1)
        return self.o((a @ v).permute(0, 3, 1, 2, 4).reshape(b, t, h))

    def forward(self, x, turn, mask):
        x = x + self.attend(rms(x, self.norm1, self.eps), turn, mask)
        y = F.linear(rms(x, self.norm2, self.eps), torch.cat([self.gate.weight, self.up.weight]))
        gate, up = y.chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    """Everything that is exported, and the auxiliary heads that are not."""

    def __init__(self, cfg, vocab, aux):
        super().__init__()
        self.cfg = cfg
        h, feature = cfg["hidden"], 2 * cfg["dims"][4]
        self.encoder = Encoder(cfg)
        self.project = nn.ModuleList([nn.Linear(feature, h), nn.Linear(h, h)])
        self.embed = nn.Embedding(vocab, h)
        self.layers = nn.ModuleList([Layer(cfg) for _ in range(cfg["n_layers"])])
        self.norm = nn.Parameter(torch.ones(h))
        self.aux_cells = nn.Linear(h, 4 * aux["cell"])
        self.aux_more = nn.Linear(h, 4 * aux["more"])
        self.aux_taps = nn.ModuleList([nn.Conv2d(d, aux["cell"], 1) for d in cfg["dims"][2:4]])
        self.aux_whole = nn.Linear(h, aux["whole"])
        nn.init.normal_(self.embed.weight, std=0.05)

    def see(self, pixels, taps=None):
        """[B,3,S,S] in [0,1] -> image rows [B,N,hidden]"""
        return self.project[1](F.gelu(self.project[0](self.encoder(pixels, taps))))

    def read(self, ids, rows, at, positions, mask):
        """Final hidden states [B,T,hidden]; the image's rows stand at `at`."""
        x = self.embed(ids)
        x = torch.cat([x[:, :at], rows, x[:, at + rows.shape[1]:]], 1)
        turn = rope(positions, self.cfg["hidden"] // self.cfg["heads"], self.cfg["theta"])
        for layer in self.layers:
            x = layer(x, turn, mask)
        return rms(x, self.norm, self.cfg["eps"])

"""Writes the golden values: logits, loss, gradients and running statistics of torch on given weights.

Made with torch 2.15 (CPU), in f64 from values that f32 holds. Weights and inputs are not stored: both sides compute them from their names, so the
files hold only what torch makes of them. Gradients are stored as three numbers each (see `digest`).

    python -m venv venv && venv/bin/pip install torch numpy && venv/bin/python make.py
"""

import json
import math
import pathlib
import zlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HERE = pathlib.Path(__file__).parent


def wave(name, count):
    """count numbers on [-1, 1) that depend on name and index alone: SplitMix64 from the name's CRC-32."""
    z = np.arange(count, dtype=np.uint64) + (np.uint64(zlib.crc32(name.encode())) << np.uint64(32))
    z += np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return 2 * ((z >> np.uint64(11)).astype(np.float64) / 2**53) - 1


def tensor(name, shape, scale=1.0, offset=0.0):
    values = offset + scale * wave(name, math.prod(shape))
    return torch.tensor(values.astype(np.float32)).reshape(shape)


def weight(name, shape):
    """A weight's value; scales of norms are around 1."""
    norm_scale = len(shape) == 1 and name.endswith("weight")
    fan = max(1, math.prod(shape[1:]))
    return tensor(name, shape, 0.3 if len(shape) == 1 else 2.0 / math.sqrt(fan), 1.0 if norm_scale else 0.0)


def digest(gradient):
    """Sum, sum of squares, and the scalar product with the wave called "probe"."""
    g = gradient.detach().double().flatten().numpy()
    return [float(g.sum()), float((g * g).sum()), float((g * wave("probe", g.size)).sum())]


# --- residual networks -----------------------------------------------------------------------------------------


class OptionA(nn.Module):
    """akamaster/pytorch_resnet_cifar10, LambdaLayer: x[:, :, ::2, ::2] with zero channels on both sides."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride, self.new = stride, outputs - inputs

    def forward(self, x):
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))


class Block(nn.Module):
    """torchvision's BasicBlock and Bottleneck."""

    def __init__(self, inputs, width, stride, shortcut, bottleneck):
        super().__init__()
        shapes = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)] if bottleneck else [(width, 3, stride), (width, 3, 1)]
        channels = inputs
        for i, (out, kernel, s) in enumerate(shapes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(channels, out, kernel, s, kernel // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(out))
            channels = out
        self.count, self.outputs, self.downsample = len(shapes), channels, None
        if stride != 1 or inputs != channels:
            self.downsample = OptionA(inputs, channels, stride) if shortcut == "A" else nn.Sequential(
                nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = F.relu(y) if i < self.count else y
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, widths, counts, stem, shortcut, bottleneck, classes=3, channels=3):
        super().__init__()
        self.stem = stem
        self.conv1 = nn.Conv2d(channels, widths[0], *((3, 1, 1) if stem == "cifar" else (7, 2, 3)), bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs, self.stages = widths[0], len(widths)
        for stage, (width, count) in enumerate(zip(widths, counts)):
            blocks = []
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(Block(inputs, width, stride, shortcut, bottleneck))
                inputs = blocks[-1].outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, 2, 1) if self.stem == "imagenet" else x
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


# --- text ------------------------------------------------------------------------------------------------------

VOCABULARY, BATCH, LENGTH = 17, 4, 6
LENGTHS = [6, 3, 1, 5]
IDS = torch.tensor([[1 + (5 * b + 3 * t) % 16 if t < LENGTHS[b] else 0 for t in range(LENGTH)] for b in range(BATCH)])
MASK = IDS.ne(0)


def pool(x, how):
    if how == "mean":
        return (x * MASK[..., None]).sum(1) / MASK.sum(1, keepdim=True)
    if how == "max":
        return x.masked_fill(~MASK[..., None], -torch.inf).max(1).values
    return x[torch.arange(BATCH), MASK.sum(1) - 1]


class Lstm(nn.Module):
    def __init__(self, layers, bidirectional, pooling):
        super().__init__()
        self.pooling = pooling
        self.embedding = nn.Embedding(VOCABULARY, 5)
        self.lstm = nn.LSTM(5, 7, layers, batch_first=True, bidirectional=bidirectional)
        self.fc = nn.Linear(14 if bidirectional else 7, 3)

    def forward(self, ids):
        packed = nn.utils.rnn.pack_padded_sequence(self.embedding(ids), LENGTHS, batch_first=True, enforce_sorted=False)
        states, (h, _) = self.lstm(packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True, total_length=LENGTH)
        directions = 2 if self.lstm.bidirectional else 1
        last = torch.cat(list(h[-directions:]), 1)
        return self.fc(last if self.pooling == "last" else pool(states, self.pooling))


class Transformer(nn.Module):
    def __init__(self, pre, learned, activation, pooling):
        super().__init__()
        self.pooling, self.learned = pooling, learned
        self.embedding = nn.Embedding(VOCABULARY, 8)
        if learned:
            self.position = nn.Embedding(LENGTH, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 12, 0.0, activation, batch_first=True, norm_first=pre)
        self.encoder = nn.TransformerEncoder(
            layer, 2, nn.LayerNorm(8) if pre else None, enable_nested_tensor=False)
        self.fc = nn.Linear(8, 3)

    def forward(self, ids):
        if self.learned:
            x = self.embedding(ids) + self.position.weight
        else:  # Vaswani et al., 3.4 and 3.5
            i, p = torch.arange(0, 8, 2, dtype=torch.float64), torch.arange(LENGTH, dtype=torch.float64)[:, None]
            angle = p / 10000 ** (i / 8)
            x = self.embedding(ids) * math.sqrt(8) + torch.stack([angle.sin(), angle.cos()], 2).flatten(1)
        return self.fc(pool(self.encoder(x, src_key_padding_mask=~MASK), self.pooling))


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 5)
        self.fc = nn.Linear(5, 3)

    def forward(self, ids):
        return self.fc(pool(self.embedding(ids), "mean"))


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3 * 9 * 9, 3)

    def forward(self, x):
        return self.fc(x.flatten(1))


# --- the cases -------------------------------------------------------------------------------------------------

LABELS = torch.tensor([0, 2, 1, 1])
CASES = {}
for stem in ["cifar", "imagenet"]:
    for shortcut in ["A", "B"]:
        CASES[f"resnet8 {stem} {shortcut}"] = ResNet([4, 8, 16], [1, 1, 1], stem, shortcut, False)
CASES["resnet18 cifar A"] = ResNet([4, 8, 16, 32], [2, 2, 2, 2], "cifar", "A", False)
CASES["resnet50 imagenet B"] = ResNet([4, 8, 16, 32], [3, 4, 6, 3], "imagenet", "B", True)
for direction, bidirectional in [("uni", False), ("bi", True)]:
    for pooling in ["last", "mean", "max"]:
        CASES[f"lstm {direction} {pooling}"] = Lstm(2, bidirectional, pooling)
CASES["transformer post learned relu mean"] = Transformer(False, True, "relu", "mean")
CASES["transformer post learned gelu last"] = Transformer(False, True, "gelu", "last")
CASES["transformer pre sinusoidal gelu max"] = Transformer(True, False, "gelu", "max")
CASES["transformer pre learned relu mean"] = Transformer(True, True, "relu", "mean")
CASES["bag"] = Bag()
CASES["linear"] = Linear()



def short(values):
    return [float(f"{v:.9g}") for v in values]


out = {}
for name, model in CASES.items():
    model.double().train()
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.copy_(weight(key, tuple(value.shape)))
    size = {"resnet50 imagenet B": 33}.get(name, 9)
    x = tensor("pictures", (BATCH, 3, size, size), 2.0) if name.startswith(("resnet", "linear")) else IDS
    x = x.double() if x.is_floating_point() else x
    logits = model(x)
    losses = {s: F.cross_entropy(logits, LABELS, label_smoothing=float(s)) for s in ["0", "0.1"]}
    losses["0.1"].backward()
    entry = {
        "logits": short(logits.flatten().tolist()),
        "loss": {s: loss.item() for s, loss in losses.items()},
        "gradients": {key: [*value.shape, short(digest(value.grad))] for key, value in model.named_parameters()},
        "buffers": {key: short(value.tolist()) for key, value in model.named_buffers() if "running" in key},
    }
    model.eval()
    entry["eval logits"] = short(model(x).flatten().tolist())
    out[name] = entry

path = HERE / "models.json"
path.write_text("{\n" + ",\n".join(f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in out.items()) + "\n}\n")
print(path.stat().st_size, "bytes")

# SPDX-License-Identifier: Apache-2.0
"""Small PyTorch modules as ONNX files, by the exporter of TorchScript or of torch.export, with inputs and predictions.

    torch_nets.py FOLDER [--dynamo]

Writes FOLDER/NAME.onnx and FOLDER/NAME.npz (in:NAME, out:0, out:1, …), which networks.py compares. What the exporter
cannot write is named.
"""

import argparse
import io
import logging
import pathlib
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings("ignore")
logging.disable(logging.ERROR)
NETS = {}


def net(*inputs, batch=False):
    """A module class and its inputs: shapes, or tensors. batch: the first axis of all has a name."""
    def add(c):
        NETS[c.__name__.lower()] = (c, inputs, batch)
        return c
    return add


def module(f):
    """A class of modules without parameters, from its function."""
    return type(f.__name__, (nn.Module,), {"forward": lambda self, *x: f(*x)})


def layers(name, *inputs, batch=False):
    """A sequence of layers, made by a function without arguments."""
    def add(make):
        net(*inputs, batch=batch)(type(name, (nn.Sequential,), {"__init__": lambda self: nn.Sequential.__init__(self, *make())}))
        return make
    return add


layers("mlp", (4, 20), batch=True)(lambda: (nn.Linear(20, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 5), nn.Softmax(-1)))
layers("conv1d", (2, 4, 30), batch=True)(lambda: (nn.Conv1d(4, 8, 5, stride=2, padding=1, dilation=2), nn.BatchNorm1d(8), nn.ELU()))
layers("conv2d", (2, 3, 17, 15), batch=True)(lambda: (nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 8, 3, groups=4)))
layers("conv3d", (1, 2, 7, 8, 9))(lambda: (nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2)))
layers("depthwise", (1, 8, 12, 12))(lambda: (nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU6(), nn.Conv2d(8, 4, 1), nn.Hardswish()))
layers("transposed", (2, 4, 6, 5))(lambda: (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), nn.LeakyReLU(0.2)))
layers("norms", (2, 8, 6, 6))(lambda: (nn.GroupNorm(4, 8), nn.InstanceNorm2d(8, affine=True), nn.LayerNorm((6, 6))))
layers("pools", (2, 3, 14, 13))(lambda: (nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2, 1, count_include_pad=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
layers("shuffle", (1, 8, 5, 4))(lambda: (nn.PixelShuffle(2), nn.ReflectionPad2d(2), nn.ReplicationPad2d((1, 0, 2, 1)), nn.ConstantPad2d(1, 0.5)))
layers("activations", (5, 24))(lambda: (nn.GELU(), nn.Mish(), nn.Softplus(), nn.Softsign(), nn.SELU(), nn.CELU(), nn.Hardsigmoid(), nn.PReLU(), nn.LogSoftmax(-1)))
layers("upsampled", (1, 3, 5, 7))(lambda: (nn.Upsample(scale_factor=2, mode="nearest"), nn.Upsample(size=(13, 9), mode="bilinear", align_corners=False)))


@net((3, 11, 6))
class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True), nn.GRU(16, 5, batch_first=True)
        self.c = nn.RNN(5, 4, batch_first=True, nonlinearity="relu")

    def forward(self, x):
        y, (_, c) = self.a(x)
        z, h = self.b(y)
        return self.c(z)[0], h, c


@net(torch.arange(24).reshape(2, 12) % 17, batch=True)
class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(17, 8), nn.Linear(8, 3)

    def forward(self, x):
        y = self.table(x)
        return self.head(y.mean(1)), (y * (x > 5).unsqueeze(-1)).amax(1)


@net((2, 9, 16), batch=True)
class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu", norm_first=True)

    def forward(self, x):
        return self.layer(x + 0)


@net((2, 7, 16), (2, 5, 16))
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, q, k):
        return self.a(q, k, k, need_weights=True)


@net((2, 4, 6, 8))
class Causal(nn.Module):
    def forward(self, x):
        s = (x @ x.transpose(-1, -2)) / 8 ** 0.5
        mask = torch.tril(torch.ones(6, 6, dtype=torch.bool))
        return torch.softmax(s.masked_fill(~mask, float("-inf")), -1) @ x


@net((2, 3, 16, 16), batch=True)
class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.n, self.m, self.head = nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.Linear(8, 10)

    def forward(self, x):
        x = F.relu(self.n(self.a(x)))
        x = F.relu(x + self.m(self.b(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


@net((2, 3, 8, 8))
class Excited(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)

    def forward(self, x):
        y = F.silu(self.a(x))
        return y * torch.sigmoid(self.c(F.silu(self.b(y.mean((2, 3), keepdim=True)))))


@net((3, 4, 5), (3, 5, 6))
@module
def Algebra(a, b):
    y = torch.einsum("bij,bjk->bki", a, b)
    return torch.bmm(a, b), y.norm(dim=1), y.std(-1), torch.logsumexp(y, 2), y.cumsum(1)


@net((3, 4, 9))
@module
def Chosen(x):
    v, i = x.topk(3, dim=-1)
    return v, i, x.argmax(1), x.sort(-1, descending=True)[0], torch.where(x > 0.3, x, x * 0.1)


@net((3, 7, 4))
@module
def Indexed(x):
    i = torch.tensor([[0, 2, 1, 3], [6, 5, 4, 0]]).expand(3, 2, 4)
    return x.gather(1, i), x[:, [1, 3]], x[:, 1::2], x.index_select(2, torch.tensor([3, 0])), torch.scatter(x, 1, i, 9.0), torch.roll(x, 2, 1), x.flip(1)


@net((2, 3, 6, 8), (2, 4, 5, 2))
@module
def Sampled(x, grid):
    return F.grid_sample(x, grid.tanh(), align_corners=False), F.interpolate(x, scale_factor=1.5, mode="bicubic", align_corners=True), F.unfold(x, 3, padding=1)


@net((2, 3, 6))
@module
def Joined(x):
    a, b = x.chunk(2, 2)
    return torch.cat([a, b * 2, torch.stack([a[:, 0], b[:, 1]], 1)], 1), torch.stack(x.unbind(1), -1), x.repeat(1, 2, 1), x.permute(2, 0, 1).reshape(3, -1)


@net((5, 6))
@module
def Pointwise(x):
    y = x.abs() + 0.5
    return torch.erf(x), y.rsqrt(), torch.atan2(x, y), y.log1p(), torch.floor(x * 3), torch.remainder(x * 5, 2.0), x.clamp(-0.5, 0.7), torch.sign(x), y ** 1.7, torch.hypot(x, y) if False else (x * x + y * y).sqrt()


@net((4, 6))
@module
def Logic(x):
    return (x > 0) & (x < 1), x.isnan(), (x > 0).any(1), (x > -9).all(0), x.max(), x.prod(1), F.one_hot(x.argmax(1), 6), torch.nonzero(x > 0.5).shape[0] > 0 if False else x.round()


@net((2, 5, 8), batch=True)
class Rotary(nn.Module):
    def forward(self, x):
        half = x.shape[-1] // 2
        angle = torch.outer(torch.arange(x.shape[1], dtype=x.dtype), 10000 ** (-torch.arange(half, dtype=x.dtype) / half))
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def export(c, inputs, batch, path, dynamo):
    torch.manual_seed(7)
    model = c().eval()
    for p in model.buffers():  # running means and the like are not all 0 and 1
        if p.dtype == torch.float32:
            p.data += 0.1 * torch.rand_like(p)
    x = tuple(v if torch.is_tensor(v) else torch.randn(*v) for v in inputs)
    names = [f"x{i}" for i in range(len(x))]
    with torch.no_grad():
        want = model(*x)
    want = [w for w in (want if isinstance(want, (tuple, list)) else [want]) if torch.is_tensor(w)]
    options = {"input_names": names}
    if dynamo:
        if batch:
            options["dynamic_shapes"] = tuple({0: torch.export.Dim("batch")} for _ in x)
        torch.onnx.export(model, x, str(path), dynamo=True, external_data=False, verbose=False, **options)
    else:
        if batch:
            options["dynamic_axes"] = {n: {0: "batch"} for n in names}
        new = {"dynamo": False} if int(torch.__version__.split(".")[0]) > 1 else {}
        torch.onnx.export(model, x, str(path), opset_version=16, **new, **options)
    data = {f"in:{n}": v.numpy() for n, v in zip(names, x)} | {f"out:{i}": w.numpy() for i, w in enumerate(want)}
    np.savez(path.with_suffix(".npz"), **data)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--dynamo", action="store_true", help="the exporter of torch.export")
    opt = p.parse_args()
    opt.folder.mkdir(parents=True, exist_ok=True)
    kind = "dynamo" if opt.dynamo else "script"
    for name, (c, inputs, batch) in NETS.items():
        path = opt.folder / f"torch_{kind}_{name}.onnx"
        said = io.StringIO()
        try:
            with redirect_stdout(said), redirect_stderr(said):
                export(c, inputs, batch, path, opt.dynamo)
        except Exception as e:  # noqa: BLE001 - whatever it raises, there is no file
            path.unlink(missing_ok=True)
            print(f"no file: {path.stem}: {(str(e).splitlines() or [type(e).__name__])[0][:150]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train a small convolutional network on Fashion-MNIST and write it as ONNX.

    apt-get install python3-torch python3-onnx libopenblas0-pthread dataset-fashion-mnist
    /usr/bin/python3 examples/fashion/train.py -o examples/fashion/convnet.onnx

The weights are stored as 16-bit floats, each behind a Cast to 32 bits; the accuracy
printed at the end is that of the rounded weights, which are the ones in the file.
The test images are looked at once, after the last epoch: nothing is chosen by them.
"""

import argparse
import gzip
import math
import os
import time

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat",
           "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
SHIFT = 1  # pixels an image may be moved by, in each direction


def read_split(folder, split):
    """Images [n, 28, 28] and labels [n], from the two IDX files of a split."""
    with gzip.open(os.path.join(folder, f"{split}-images-idx3-ubyte.gz")) as f:
        images = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(os.path.join(folder, f"{split}-labels-idx1-ubyte.gz")) as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8)
    if len(images) != len(labels):
        raise ValueError(f"{split}: {len(images)} images but {len(labels)} labels")
    return torch.tensor(images), torch.tensor(labels, dtype=torch.long)


class ConvNet(nn.Module):
    """Two convolutions with pooling, then two dense layers; 225,034 parameters."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dense1 = nn.Linear(64 * 5 * 5, 128)
        self.dense2 = nn.Linear(128, len(CLASSES))
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.25)

    def forward(self, image):
        x = self.pool(self.conv1(image).relu())
        x = self.pool(self.conv2(x).relu())
        x = self.drop(x.flatten(1))
        x = self.drop(self.dense1(x).relu())
        return self.dense2(x)


def to_float(pixels):
    """Bytes [n, 28, 28] to the network's input [n, 1, 28, 28] in 0..1."""
    x = pixels.float().div_(255).unsqueeze(1)
    return x.contiguous(memory_format=torch.channels_last)


def augment(padded, index):
    """The images at index, each mirrored or not and moved by up to SHIFT pixels."""
    n = len(index)
    rows = torch.arange(28) + torch.randint(2 * SHIFT + 1, (n, 1))
    cols = torch.arange(28).expand(n, 28)
    cols = torch.where(torch.rand(n, 1) < 0.5, 27 - cols, cols)
    cols = cols + torch.randint(2 * SHIFT + 1, (n, 1))
    return padded[index[:, None, None], rows[:, :, None], cols[:, None, :]]


def train(model, images, labels, epochs, batch, peak):
    """AdamW; the learning rate warms up over one epoch and falls along a cosine."""
    padded = nn.functional.pad(images, (SHIFT,) * 4)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    per_epoch = len(images) // batch
    start, step = time.monotonic(), 0
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for index in torch.randperm(len(images))[:per_epoch * batch].split(batch):
            done = step / (epochs * per_epoch)
            warm = min(1.0, (step + 1) / per_epoch)
            optimizer.param_groups[0]["lr"] = peak * warm * 0.5 * (1 + math.cos(math.pi * done))
            optimizer.zero_grad()
            loss = loss_of(model(to_float(augment(padded, index))), labels[index])
            loss.backward()
            optimizer.step()
            total += loss.item()
            step += 1
        print(f"epoch {epoch + 1:2}/{epochs}  loss {total / per_epoch:.4f}  "
              f"{time.monotonic() - start:.0f} s", flush=True)


def round_weights(model):
    """Round every parameter to the nearest 16-bit float."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.half().float())


def accuracy(model, images, labels):
    model.eval()
    with torch.no_grad():
        right = sum(int((model(to_float(x)).argmax(1) == y).sum())
                    for x, y in zip(images.split(1000), labels.split(1000)))
    return right / len(images)


def to_onnx(model, test_accuracy):
    """The network as an ONNX model; dropout is gone, a softmax is added."""
    nodes, weights = [], []
    for name, p in model.named_parameters():
        half = p.detach().contiguous().numpy().astype(np.float16)
        weights.append(numpy_helper.from_array(half, name + ".f16"))
        nodes.append(helper.make_node("Cast", [name + ".f16"], [name], name=name + ".widen",
                                      to=TensorProto.FLOAT))

    def add(op, source, output, layer="", doc="", **attributes):
        parameters = [f"{layer}.weight", f"{layer}.bias"] if layer else []
        nodes.append(helper.make_node(op, [source] + parameters, [output], name=output,
                                      doc_string=doc, **attributes))

    conv = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [0, 0, 0, 0]}
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    add("Conv", "image", "conv1", "conv1", "32 filters of 3x3, no padding", **conv)
    add("Relu", "conv1", "conv1.relu")
    add("MaxPool", "conv1.relu", "pool1", **pool)
    add("Conv", "pool1", "conv2", "conv2", "64 filters of 3x3, no padding", **conv)
    add("Relu", "conv2", "conv2.relu")
    add("MaxPool", "conv2.relu", "pool2", **pool)
    add("Flatten", "pool2", "features", axis=1)
    add("Gemm", "features", "dense1", "dense1", "1600 features to 128", transB=1)
    add("Relu", "dense1", "dense1.relu")
    add("Gemm", "dense1.relu", "logits", "dense2", "128 to a score for each class", transB=1)
    add("Softmax", "logits", "probability", axis=1)

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 28, 28],
                                          "A grey image: 0 is the background, 1 full ink")
    probability = helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 10],
                                                "Of each class, in the order of `classes`")
    graph = helper.make_graph(nodes, "fashion_convnet", [image], [probability], weights,
                              doc_string="Which of ten kinds of clothing an image shows")
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                               ir_version=8, producer_name="examples/fashion/train.py",
                               doc_string="A small convolutional network for Fashion-MNIST: "
                                          "two convolutions with pooling, two dense layers")
    helper.set_model_props(result, {
        "classes": ",".join(CLASSES),
        "test_accuracy": f"{test_accuracy:.4f}",
        "data": "Fashion-MNIST, 60,000 training and 10,000 test images",
        "license": "Apache-2.0",
    })
    onnx.checker.check_model(result, full_check=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", default="convnet.onnx")
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--epochs", type=int, default=22)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    model = ConvNet().to(memory_format=torch.channels_last)
    images, labels = read_split(options.data, "train")
    train(model, images, labels, options.epochs, options.batch, options.rate)

    images, labels = read_split(options.data, "t10k")
    print(f"test accuracy {accuracy(model, images, labels):.4f} with 32-bit weights")
    round_weights(model)
    rounded = accuracy(model, images, labels)
    print(f"test accuracy {rounded:.4f} with 16-bit weights")
    onnx.save(to_onnx(model, rounded), options.output)
    print(f"wrote {options.output}, {os.path.getsize(options.output):,} bytes")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""A training step of another framework, timed on request: one process a framework, network and number of threads.

    train_peers.py FRAMEWORK NETWORK BATCH THREADS

FRAMEWORK: keras, keras-xla, jax, torch or torch-compile; NETWORK: convnet, mlp or resnet18, the same as in
train.py; Adam, cross entropy, random data. Prints "ready", then for each line "SECONDS" on standard input the
milliseconds a step of as many steps as fit. After the first steps the rate is next to nothing: a network that has learnt
its batch by heart has gradients that are no longer normal numbers, and how slow those are is another question.
"""

import os
import sys
import time

FRAMEWORK, NETWORK, BATCH, THREADS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
os.environ.update(OMP_NUM_THREADS=str(THREADS), TF_CPP_MIN_LOG_LEVEL="3", JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="")
# JAX and XLA take as many threads as there are processors
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])

import numpy as np  # noqa: E402

SHAPE = {"convnet": (28, 28, 1), "mlp": (784,), "resnet18": (32, 32, 3)}[NETWORK]  # channels last
STAGES = [(64, 1), (128, 2), (256, 2), (512, 2)]
rng = np.random.default_rng(1)
X = rng.standard_normal((BATCH, *SHAPE), np.float32)
Y = rng.integers(0, 10, BATCH)


def keras_step():
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    layers = keras.layers
    x = first = keras.Input(SHAPE)
    if NETWORK == "convnet":
        for k in (32, 64):
            x = layers.MaxPooling2D()(layers.Conv2D(k, 3, activation="relu")(x))
        x = layers.Dense(128, activation="relu")(layers.Flatten()(x))
    elif NETWORK == "mlp":
        for k in (256, 128):
            x = layers.Dense(k, activation="relu")(x)
    else:
        def conv(x, k, r, s):
            return layers.BatchNormalization(epsilon=1e-5, momentum=0.9)(layers.Conv2D(k, r, s, "same", use_bias=False)(x))

        x = layers.ReLU()(conv(x, 64, 3, 1))
        for k, stride in STAGES:
            for s in (stride, 1):
                y = conv(layers.ReLU()(conv(x, k, 3, s)), k, 3, 1)
                x = layers.ReLU()(layers.Add()([y, conv(x, k, 1, s) if s > 1 else x]))
        x = layers.GlobalAveragePooling2D()(x)
    net = keras.Model(first, layers.Dense(10)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=FRAMEWORK == "keras-xla")
    x, y = tf.constant(X), tf.constant(Y)
    step = tf.function(lambda: net.train_step((x, y)), jit_compile=FRAMEWORK == "keras-xla")
    return step, lambda: float(loss(y, net(x, training=True))), net.optimizer.learning_rate.assign


def torch_step():
    import torch
    from torch import nn

    torch.set_num_threads(THREADS)

    class Block(nn.Module):
        def __init__(self, c, k, s):
            super().__init__()
            self.a, self.an = nn.Conv2d(c, k, 3, s, 1, bias=False), nn.BatchNorm2d(k)
            self.b, self.bn = nn.Conv2d(k, k, 3, 1, 1, bias=False), nn.BatchNorm2d(k)
            self.short = nn.Sequential(nn.Conv2d(c, k, 1, s, bias=False), nn.BatchNorm2d(k)) if s > 1 else nn.Identity()

        def forward(self, x):
            return torch.relu(self.bn(self.b(torch.relu(self.an(self.a(x))))) + self.short(x))

    if NETWORK == "convnet":
        net = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
                            nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10))
    elif NETWORK == "mlp":
        net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    else:
        parts, c = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()], 64
        for k, stride in STAGES:
            parts += [Block(c, k, stride), Block(k, k, 1)]
            c = k
        net = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    x = torch.from_numpy(X if len(SHAPE) == 1 else np.ascontiguousarray(X.transpose(0, 3, 1, 2)))
    y, loss, adam = torch.from_numpy(Y), nn.CrossEntropyLoss(), torch.optim.Adam(net.parameters(), 1e-3, fused=True)
    if len(SHAPE) > 1:
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    run = torch.compile(net) if FRAMEWORK == "torch-compile" else net

    def step():
        adam.zero_grad(set_to_none=True)
        value = loss(run(x), y)
        value.backward()
        adam.step()
        return value

    return step, lambda: float(loss(run(x), y)), lambda rate: adam.param_groups[0].update(lr=rate)


def jax_step():
    import jax
    import jax.numpy as jnp
    from jax import lax

    names = ("NHWC", "HWIO", "NHWC")

    def weight(*shape):
        return jnp.asarray(rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape).astype(np.float32))

    def conv(p, x, s=1, pad="SAME"):
        return lax.conv_general_dilated(x, p, (s, s), pad, dimension_numbers=names)

    def norm(p, x):
        m, v = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (x - m) * (p[0] * lax.rsqrt(v + 1e-5)) + p[1]

    def pool(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def new_norm(k):
        return [jnp.ones(k), jnp.zeros(k)]

    if NETWORK == "convnet":
        params = [weight(3, 3, 1, 32), jnp.zeros(32), weight(3, 3, 32, 64), jnp.zeros(64), weight(1600, 128), jnp.zeros(128),
                  weight(128, 10), jnp.zeros(10)]

        def net(p, x):
            for i in (0, 2):
                x = pool(jax.nn.relu(conv(p[i], x, 1, "VALID") + p[i + 1]))
            return jax.nn.relu(x.reshape(BATCH, -1) @ p[4] + p[5]) @ p[6] + p[7]
    elif NETWORK == "mlp":
        sizes = (784, 256, 128, 10)
        params = [[weight(a, b), jnp.zeros(b)] for a, b in zip(sizes, sizes[1:], strict=False)]

        def net(p, x):
            for w, b in p[:-1]:
                x = jax.nn.relu(x @ w + b)
            return x @ p[-1][0] + p[-1][1]
    else:
        params, c = {"first": [weight(3, 3, 3, 64), new_norm(64)], "blocks": [], "last": [weight(512, 10), jnp.zeros(10)]}, 64
        for k, stride in STAGES:
            for s in (stride, 1):
                short = [weight(1, 1, c, k), new_norm(k)] if s > 1 else None
                params["blocks"].append([weight(3, 3, c, k), new_norm(k), weight(3, 3, k, k), new_norm(k), short])
                c = k

        def net(p, x):
            x = jax.nn.relu(norm(p["first"][1], conv(p["first"][0], x)))
            for a, an, b, bn, short in p["blocks"]:
                s = 2 if short else 1
                y = norm(bn, conv(b, jax.nn.relu(norm(an, conv(a, x, s)))))
                x = jax.nn.relu(y + (norm(short[1], conv(short[0], x, s)) if short else x))
            return x.mean((1, 2)) @ p["last"][0] + p["last"][1]

    x, y = jnp.asarray(X), jnp.asarray(Y)

    def loss(p):
        return -jnp.take_along_axis(jax.nn.log_softmax(net(p, x)), y[:, None], 1).mean()

    def update(p, m, v, t, rate):
        value, g = jax.value_and_grad(loss)(p)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        a = rate * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return jax.tree.map(lambda p, m, v: p - a * m / (jnp.sqrt(v) + 1e-8), p, m, v), m, v, t + 1, value

    update = jax.jit(update, donate_argnums=(0, 1, 2, 3))
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = [params, zeros, jax.tree.map(jnp.zeros_like, params), jnp.float32(1), jnp.float32(0)]
    rate = [1e-3]

    def step():
        state[:] = update(*state[:4], *rate)
        state[4].block_until_ready()

    return step, lambda: float(loss(state[0])), lambda value: rate.__setitem__(0, value)


def main():
    step, loss, set_rate = {"keras": keras_step, "jax": jax_step, "torch": torch_step}[FRAMEWORK.partition("-")[0]]()
    first = loss()
    for _ in range(10):
        step()
    if not loss() < first:
        raise SystemExit(f"{FRAMEWORK} does not train: {first} before, {loss()} after")
    set_rate(1e-7)
    print("ready", flush=True)
    for line in sys.stdin:
        seconds, n, start = float(line), 0, time.perf_counter()
        while n < 3 or time.perf_counter() - start < seconds:
            step()
            n += 1
        print(1e3 * (time.perf_counter() - start) / n, flush=True)


if __name__ == "__main__":
    main()

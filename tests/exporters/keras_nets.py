# SPDX-License-Identifier: Apache-2.0
"""Small networks of Keras and TensorFlow functions as ONNX files, by Keras and tf2onnx, with inputs and predictions.

    keras_nets.py FOLDER

Writes FOLDER/NAME.onnx and FOLDER/NAME.npz (in:NAME, out:0, out:1, …), which networks.py compares. What an exporter
cannot write is named.
"""

import os
import pathlib
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf2onnx  # noqa: E402
from keras import layers as L  # noqa: E402

NETS, FUNCTIONS = {}, {}


def net(shape, kind="float32", high=None):
    """A network: a function from its input to its output."""
    def add(make):
        NETS[make.__name__] = (make, shape, kind, high)
        return make
    return add


def function(*specs):
    """A TensorFlow function of inputs of these shapes."""
    def add(f):
        FUNCTIONS[f.__name__] = (f, specs)
        return f
    return add


@net((20,))
def mlp(x):
    return L.Dense(5, activation="softmax")(L.Dropout(0.5)(L.Dense(32, activation="relu")(x)))


@net((15, 13, 3))
def convolutions(x):
    x = L.BatchNormalization()(L.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x))
    return L.GlobalAveragePooling2D()(L.Conv2D(12, 3, padding="valid", activation="relu", dilation_rate=2)(x))


@net((16, 16, 4))
def mobile_block(x):
    y = L.ReLU(max_value=6)(L.BatchNormalization()(L.Conv2D(24, 1)(x)))
    y = L.ReLU(max_value=6)(L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same")(y)))
    return L.Add()([x, L.Conv2D(4, 1)(y)])


@net((12, 12, 3))
def separable(x):
    return L.SeparableConv2D(6, 3, depth_multiplier=2, activation="swish")(x)


@net((6, 5, 8))
def transposed(x):
    return L.Conv2DTranspose(4, 3, strides=2, padding="same", activation="elu")(x)


@net((17, 6))
def causal(x):
    return L.Conv1D(5, 4, padding="causal", dilation_rate=2, activation="tanh")(x)


@net((6, 7, 8, 2))
def volume(x):
    return L.MaxPooling3D(2)(L.Conv3D(4, 3, padding="same", activation="relu")(x))


@net((14, 10, 3))
def pools(x):
    return L.Concatenate()([L.MaxPooling2D(3, 2, padding="same")(x), L.AveragePooling2D(3, 2, padding="same")(x)])


@net((5, 7, 3))
def resized(x):
    return L.UpSampling2D(2, interpolation="bilinear")(L.UpSampling2D((1, 3), interpolation="nearest")(x))


@net((9, 8, 2))
def frames(x):
    return L.Cropping2D(((1, 2), (0, 3)))(L.ZeroPadding2D(((2, 1), (3, 0)))(x))


@net((10, 6))
def lstm(x):
    return L.Dense(3)(L.LSTM(7, return_sequences=False)(L.LSTM(9, return_sequences=True)(x)))


@net((10, 6))
def gru(x):
    return L.GRU(7, return_sequences=True, reset_after=True)(x)


@net((8, 4))
def both_ways(x):
    return L.Bidirectional(L.LSTM(5, return_sequences=True))(x)


@net((11,), "int32", 50)
def embedded(x):
    return L.Dense(4)(L.GlobalAveragePooling1D()(L.Embedding(50, 12)(x)))


@net((9, 16))
def attention(x):
    y = L.LayerNormalization()(x)
    return L.Add()([x, L.MultiHeadAttention(4, 4)(y, y)])


@net((9, 16))
def transformer(x):
    y = L.LayerNormalization(epsilon=1e-6)(L.Add()([x, L.MultiHeadAttention(2, 8)(x, x, use_causal_mask=True)]))
    return L.Add()([y, L.Dense(16)(L.Dense(32, activation="silu")(y))])


@net((9, 16))
def gelu(x):
    return L.Dense(8, activation="gelu")(x)


@net((6, 5, 4))
def shuffled(x):
    return L.Flatten()(L.Permute((3, 1, 2))(L.Reshape((10, 3, 4))(x)))


@net((7, 5, 3))
def per_step(x):
    return L.TimeDistributed(L.Dense(4, activation="sigmoid"))(x)


@net((12, 8))
def activations(x):
    kinds = ["relu", "selu", "softplus", "softsign", "hard_sigmoid", "mish", "leaky_relu", "exponential", "silu", "log_softmax"]
    return L.Concatenate()([L.Activation(k)(x) for k in kinds] + [L.PReLU()(x)])


@net((10, 9, 6))
def norms(x):
    return L.Concatenate()([L.GroupNormalization(3)(x), L.UnitNormalization()(x), L.LayerNormalization(axis=[1, 2])(x)])


@function((None, 6), (6, 4))
def algebra(a, b):
    y = tf.matmul(a, b)
    return tf.reduce_logsumexp(y, -1), tf.math.top_k(y, 2)[0], tf.cast(tf.argmax(y, -1), tf.float32)


@function((None, 5))
def repeated(x):
    return tf.while_loop(lambda i, s: i < 7, lambda i, s: (i + 1, tf.tanh(s * 1.1 + x)), (tf.constant(0), x))[1]


@function((None, 5))
def branched(x):
    return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.nn.relu(x), lambda: tf.exp(x))


@function((3, 9, 7, 2))
def pictures(x):
    return tf.image.resize(x, (14, 5)), tf.nn.space_to_depth(x[:, :8, :6], 2), tf.transpose(x, (0, 3, 1, 2))


@function((4, 10))
def chosen(x):
    rows = tf.gather(x, tf.constant([2, 0, 2]), axis=0)
    return tf.where(rows > 0, rows, 0.1 * rows), tf.cumsum(x, 1, reverse=True), tf.one_hot(tf.argmax(x, 1), 10), tf.boolean_mask(x, tf.constant([True, False, True, True]))


@function((2, 6, 4))
def indexed(x):
    y = tf.scatter_nd(tf.constant([[1], [4], [1]]), tf.ones((3, 4)), (6, 4))
    return x + y, tf.gather_nd(x, tf.constant([[0, 2], [1, 5]])), tf.strided_slice(x, [0, 5, 0], [2, 0, 4], [1, -2, 1]), tf.roll(x, 2, 1)


@function((3, 4, 5), (3, 5, 6))
def sums(a, b):
    y = tf.einsum("bij,bjk->bki", a, b)
    return tf.nn.moments(y, [1])[1], tf.linalg.band_part(y, 0, -1), tf.reduce_prod(a, 2, keepdims=True), tf.math.erf(y)


def save(folder, name, inputs, outputs):
    try:
        onnx.checker.check_model(folder / f"{name}.onnx")
    except onnx.checker.ValidationError:
        (folder / f"{name}.onnx").unlink()
        raise
    data = {f"in:{n}": v for n, v in inputs.items()} | {f"out:{i}": np.asarray(v) for i, v in enumerate(outputs)}
    np.savez(folder / f"{name}.npz", **data)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (make, shape, kind, high) in NETS.items():
        keras.utils.set_random_seed(7)
        x = keras.Input(shape, dtype=kind, name="x")
        model = keras.Model(x, make(x))
        for w in model.weights:  # moving means and the like are not all 0 and 1
            if w.dtype == "float32":
                w.assign(np.asarray(w) + np.random.uniform(0, 0.1, w.shape))
        value = np.random.default_rng(3).integers(0, high, (3, *shape)).astype(kind) if high else np.random.default_rng(3).standard_normal((3, *shape)).astype(kind)
        try:
            want = model(value)
            model.export(str(folder / f"keras_{name}.onnx"), format="onnx", verbose=False)
            save(folder, f"keras_{name}", {"x": value}, [want])
        except Exception as e:  # noqa: BLE001 - whatever it raises, there is no file
            print(f"no file: keras_{name}: {str(e).splitlines()[0][:150] if str(e) else type(e).__name__}")
    for name, (f, specs) in FUNCTIONS.items():
        rng = np.random.default_rng(5)
        inputs = {f"x{i}": rng.standard_normal([n or 3 for n in s]).astype(np.float32) for i, s in enumerate(specs)}
        try:
            want = f(*map(tf.constant, inputs.values()))
            want = list(want) if isinstance(want, (tuple, list)) else [want]
            signature = [tf.TensorSpec(s, tf.float32, name=f"x{i}") for i, s in enumerate(specs)]
            tf2onnx.convert.from_function(tf.function(f), signature, opset=17, output_path=str(folder / f"tf_{name}.onnx"))
            save(folder, f"tf_{name}", inputs, want)
        except Exception as e:  # noqa: BLE001 - whatever it raises, there is no file
            print(f"no file: tf_{name}: {str(e).splitlines()[0][:150] if str(e) else type(e).__name__}")


if __name__ == "__main__":
    main()

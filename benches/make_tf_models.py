"""Makes small models with Keras and exports them with tf2onnx, as TensorFlow users do: NHWC, with Transposes around
convolutions, BiasAdd as Add, BatchNormalization folded or decomposed, LSTM and GRU as operators or as Loops.

    pip install tensorflow-cpu tf2onnx onnx
    python benches/make_tf_models.py FOLDER

Weights are random, from a fixed seed.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import tensorflow as tf
import tf2onnx
from keras import layers as L


def conv_block(x, width, stride=1):
    x = L.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(x)
    x = L.BatchNormalization()(x)
    return L.ReLU()(x)


def residual_cnn():
    inputs = keras.Input((32, 32, 3), name="image")
    x = conv_block(inputs, 32)
    for width, stride in ((32, 1), (64, 2)):
        shortcut = x if stride == 1 else L.Conv2D(width, 1, strides=stride)(x)
        y = conv_block(x, width, stride)
        y = L.Conv2D(width, 3, padding="same")(y)
        y = L.BatchNormalization()(y)
        x = L.ReLU()(L.Add()([shortcut, y]))
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, L.Dense(10, activation="softmax")(L.Dense(48, activation="relu")(x)))


def separable_cnn():
    inputs = keras.Input((32, 32, 3), name="image")
    x = L.Conv2D(32, 3, strides=2, padding="same", activation="relu")(inputs)
    x = L.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = L.BatchNormalization()(x)
    x = L.ReLU(max_value=6.0)(x)
    x = L.Conv2D(64, 1)(x)
    x = L.SeparableConv2D(64, 3, padding="same", activation="swish")(x)
    gate = L.GlobalAveragePooling2D(keepdims=True)(x)
    gate = L.Conv2D(64, 1, activation="sigmoid")(L.Conv2D(16, 1, activation="relu")(gate))
    x = L.Multiply()([x, gate])
    x = L.MaxPooling2D()(x)
    return keras.Model(inputs, L.Dense(10)(L.Dropout(0.2)(L.Flatten()(x))))


def concat_cnn():
    inputs = keras.Input((32, 32, 3), name="image")
    x = conv_block(inputs, 24)
    branches = [conv_block(x, 16), L.Conv2D(24, 1, activation="elu")(x), L.Conv2D(16, 1)(L.AveragePooling2D(3, 1, "same")(x))]
    x = L.Concatenate()(branches)
    x = L.Conv2DTranspose(24, 2, strides=2, activation="relu")(x)
    x = L.UpSampling2D(2, interpolation="bilinear")(x)
    return keras.Model(inputs, L.Conv2D(5, 1)(L.Conv2D(16, 3, padding="same", activation="relu")(x)))


def recurrent(layer):
    inputs = keras.Input((20, 16), name="sequence")
    x = layer(32, return_sequences=True)(inputs)
    x = L.Bidirectional(layer(24))(x)
    return keras.Model(inputs, L.Dense(6)(L.Dense(32, activation="tanh")(x)))


def attention():
    inputs = keras.Input((16,), dtype="int32", name="tokens")
    x = L.Embedding(100, 32)(inputs)
    y = L.MultiHeadAttention(4, 8)(x, x)
    x = L.LayerNormalization(epsilon=1e-6)(L.Add()([x, y]))
    # The exact gelu becomes Erfc, which tf2onnx cannot export.
    gelu = lambda value: keras.activations.gelu(value, approximate=True)
    y = L.Dense(32)(L.Dense(64, activation=gelu)(x))
    x = L.LayerNormalization(epsilon=1e-6)(L.Add()([x, y]))
    return keras.Model(inputs, L.Dense(4)(L.GlobalAveragePooling1D()(x)))


MODELS = {
    "keras_residual_cnn": residual_cnn,
    "keras_separable_cnn": separable_cnn,
    "keras_concat_cnn": concat_cnn,
    "keras_lstm": lambda: recurrent(L.LSTM),
    "keras_gru": lambda: recurrent(L.GRU),
    "keras_attention": attention,
}


def perturb_statistics(model):
    """Running statistics that are not 0 and 1, so that a wrong cut of them shows."""
    generator = tf.random.Generator.from_seed(2)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            for weight in layer.weights:
                weight.assign(generator.uniform(weight.shape, 0.5, 1.5))


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in MODELS.items():
        keras.utils.set_random_seed(1)
        model = make()
        perturb_statistics(model)
        inputs = model.inputs[0]
        signature = [tf.TensorSpec((None, *inputs.shape[1:]), inputs.dtype, name=inputs.name)]
        # Folding of batch normalisation happens in tf2onnx; the plain function keeps what Keras wrote.
        function = tf.function(lambda x, model=model: model(x, training=False), input_signature=signature)
        path = folder / f"{name}.onnx"
        try:
            tf2onnx.convert.from_function(function, input_signature=signature, opset=17, output_path=str(path))
            print(f"{path}: {path.stat().st_size} bytes")
        except Exception as error:
            print(f"{name}: not exported: {error}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

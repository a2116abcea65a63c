"""The loop that benches/evaluate.rs is held against: numpy, Pillow and onnxruntime, same library, batch and threads.

Usage: python benches/evaluate.py DATA_FOLDER [rounds] [threads] [batch size]
"""
import io
import sys
import time
import zipfile

import numpy as np
import onnxruntime as ort
from PIL import Image

folder, (rounds, threads, batch) = sys.argv[1], ([int(a) for a in sys.argv[2:]] + [3, 2, 64][len(sys.argv) - 2:])[:3]
mean = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
std = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


def arrays(path):
    with np.load(path) as file:
        x, y = file["x"], file["y"]
    for start in range(0, len(x), batch):
        yield x[start:start + batch], y[start:start + batch]


def images(path):
    with zipfile.ZipFile(path) as file:
        names = sorted(file.namelist())
        classes = {name: label for label, name in enumerate(sorted({name.split("/")[0] for name in names}))}
        for start in range(0, len(names), batch):
            part = names[start:start + batch]
            pixels = [np.asarray(Image.open(io.BytesIO(file.read(name))).convert("RGB")) for name in part]
            yield np.stack(pixels).transpose(0, 3, 1, 2), np.array([classes[name.split("/")[0]] for name in part])


for data, batches in [("data/cifar10_jpeg_test5k.npz", arrays), ("data/cifar10-test5k.zip", images)]:
    for _ in range(rounds):
        start = time.perf_counter()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(f"{folder}/cifar_resnet/cifar10_resnet20.onnx", options)
        name, hits, count = session.get_inputs()[0].name, 0, 0
        for x, y in batches(f"{folder}/{data}"):
            x = (x.astype(np.float32) / 255 - mean) / std
            hits += int((session.run(None, {name: x})[0].argmax(1) == y).sum())
            count += len(y)
        seconds = time.perf_counter() - start
        print(f"{data}: {count / seconds:.0f} images/s, {threads} threads, batch {batch}, accuracy {hits / count:.4f}")

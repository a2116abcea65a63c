#!/usr/bin/env python3
"""Holds this project's retraining against PyTorch doing the same on the same ONNX file.

    pip install torch numpy onnx pillow          # in an environment of its own
    cargo build --example retrain
    python benches/compare_torch.py gradients MODEL.onnx DATASET
    python benches/compare_torch.py retrain MODEL.onnx DATASET --test TEST [--epochs 2 …]

DATASET and TEST are what the service takes: a .npz (`x`/`image`, `y`/`labels`) or a .zip of class folders of images.

`gradients` compares one step of plain gradient descent with PyTorch in double precision: the gradient of each weight
is its change divided by the learning rate. Where an activation rounds to the other side of a Relu's 0, the tensors
before it differ by up to some percent, in any engine that computes in single precision; another `--seed` takes another
batch.
`retrain` trains the model with both, with the same hyperparameters on the same batches (order and augmentation are
drawn as this project draws them, see `same_batches.py`; only the JPEG decoder is another), tests both results by the
interpreter below, and prints accuracies and times. It fails where this project ends more than one point below PyTorch.

The model is read by a small interpreter of ONNX nodes: floating initializers of convolutions, dense layers and
normalisations become parameters, so that any widths that pruning left are taken as they are.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

import same_batches

CIFAR = {"divide_by": 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


class Network(torch.nn.Module):
    """The nodes of an ONNX graph, run one by one."""

    PARAMETERS = {"Conv": (1, 2), "Gemm": (1, 2), "MatMul": (1,), "BatchNormalization": (1, 2), "PRelu": (1,)}

    def __init__(self, path):
        super().__init__()
        self.graph = onnx.load(path).graph
        # `tied` follows names through Identity, so that a vector stored once for two layers is one constant here.
        constants = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in self.graph.initializer}
        alias = {}
        for node in self.graph.node:
            if node.op_type == "Identity" and alias.get(node.input[0], node.input[0]) in constants:
                alias[node.output[0]] = alias.get(node.input[0], node.input[0])
        self.constants, self.names, self.statistics = constants, {}, {}
        self.weights, self.decayed = torch.nn.ParameterDict(), set()
        learned = set()
        for index, node in enumerate(self.graph.node):
            slots = self.PARAMETERS.get(node.op_type, ())
            if node.op_type == "Add" and any(name in learned for name in node.input):
                slots = (0, 1)
            for slot in slots:
                name = alias.get(node.input[slot], node.input[slot]) if slot < len(node.input) else ""
                value = constants.get(name)
                if value is None or not value.is_floating_point() or (node.op_type == "Add" and value.numel() < 2):
                    continue
                # A vector belongs to its layer, a matrix to its name.
                key = name if value.dim() > 1 else f"{name}@{index}.{slot}"
                self.names[index, slot] = key
                safe = key.replace(".", "~")
                if safe not in self.weights:
                    self.weights[safe] = torch.nn.Parameter(value.float().clone())
                if slot == 1 and value.dim() > 1 and node.op_type in ("Conv", "Gemm", "MatMul"):
                    self.decayed.add(safe)
            if node.op_type == "BatchNormalization":
                found = [alias.get(name, name) for name in node.input[3:5]]
                self.statistics[index] = [constants[name].clone() for name in found]
            if slots or any(name in learned for name in node.input):
                learned.update(node.output)

    def forward(self, x):
        values = dict(self.constants)
        fed = [i.name for i in self.graph.input if i.name not in values]
        values[fed[0]] = x
        for index, node in enumerate(self.graph.node):
            inputs = [
                self.weights[self.names[index, slot].replace(".", "~")]
                if (index, slot) in self.names
                else values.get(name)
                for slot, name in enumerate(node.input)
            ]
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            outputs = self.run(index, node, inputs, attributes)
            values.update(zip(node.output, outputs if isinstance(outputs, (list, tuple)) else [outputs]))
        return values[self.graph.output[0].name]

    def run(self, index, node, i, a):
        op = node.op_type
        if op == "Conv":
            pads = a.get("pads", [0, 0, 0, 0])
            x = i[0]
            if list(pads[:2]) != list(pads[2:]):
                x, pads = F.pad(x, (pads[1], pads[3], pads[0], pads[2])), [0, 0]
            return F.conv2d(x, i[1], i[2] if len(i) > 2 else None, a.get("strides", [1, 1]), pads[:2],
                            a.get("dilations", [1, 1]), a.get("group", 1))
        if op == "BatchNormalization":
            mean, variance = self.statistics[index]
            momentum = 1 - a.get("momentum", 0.9)
            return F.batch_norm(i[0], mean, variance, i[1], i[2], self.training, momentum, a.get("epsilon", 1e-5))
        if op == "Gemm":
            left = i[0].t() if a.get("transA", 0) else i[0]
            right = i[1].t() if a.get("transB", 0) else i[1]
            product = a.get("alpha", 1.0) * left @ right
            return product + a.get("beta", 1.0) * i[2] if len(i) > 2 else product
        if op in ("MaxPool", "AveragePool"):
            pads = a.get("pads", [0, 0, 0, 0])
            pool = F.max_pool2d if op == "MaxPool" else F.avg_pool2d
            return pool(i[0], a["kernel_shape"], a.get("strides", [1, 1]), pads[:2], ceil_mode=bool(a.get("ceil_mode", 0)))
        if op == "Slice":
            starts, ends = i[1].tolist(), i[2].tolist()
            axes = i[3].tolist() if len(i) > 3 and i[3] is not None else range(len(starts))
            steps = i[4].tolist() if len(i) > 4 and i[4] is not None else [1] * len(starts)
            x = i[0]
            for start, end, axis, step in zip(starts, ends, axes, steps):
                size = x.shape[axis]
                if step < 0:
                    where = list(range(size))[slice(start, None if end < -size else end, step)]
                else:
                    where = list(range(size))[slice(start, end, step)]
                x = x.index_select(axis, torch.tensor(where, dtype=torch.long)) if step < 0 else x[
                    (slice(None),) * (axis % x.dim()) + (slice(start, min(end, size), step),)]
            return x
        if op == "Pad":
            pads = i[1].tolist()
            rank = len(pads) // 2
            return F.pad(i[0], [p for k in reversed(range(rank)) for p in (pads[k], pads[k + rank])])
        if op == "ReduceMean":
            axes = a["axes"] if "axes" in a else i[1].tolist()
            return i[0].mean(dim=list(axes), keepdim=bool(a.get("keepdims", 1)))
        if op == "Reshape":
            shape = [i[0].shape[k] if s == 0 else s for k, s in enumerate(i[1].tolist())]
            return i[0].reshape(shape)
        if op == "Constant":
            return torch.from_numpy(numpy_helper.to_array(a["value"]).copy())
        if op == "ConstantOfShape":
            value = torch.from_numpy(numpy_helper.to_array(a["value"]).copy()) if "value" in a else torch.zeros(1)
            return value.expand(i[0].tolist()).clone()
        if op == "Cast":
            return i[0].to(torch.from_numpy(np.zeros(1, onnx.helper.tensor_dtype_to_np_dtype(a["to"]))).dtype)
        if op == "Gather":
            taken = i[0].index_select(a.get("axis", 0), i[1].reshape(-1))
            return taken.reshape(i[0].shape[: a.get("axis", 0)] + i[1].shape + i[0].shape[a.get("axis", 0) + 1 :])
        if op == "Unsqueeze":
            x = i[0]
            for axis in sorted(a["axes"] if "axes" in a else i[1].tolist()):
                x = x.unsqueeze(axis)
            return x
        if op == "Squeeze":
            return i[0].squeeze(tuple(a["axes"] if "axes" in a else i[1].tolist()))
        if op == "Clip":
            bound = [i[k] if len(i) > k else None for k in (1, 2)]
            # As ReLU6 does at its bounds.
            return F.hardtanh(i[0], *[b.item() for b in bound]) if None not in bound else i[0].clamp(*bound)
        simple = {
            "Relu": lambda: F.relu(i[0]),
            "LeakyRelu": lambda: F.leaky_relu(i[0], a.get("alpha", 0.01)),
            "Sigmoid": lambda: i[0].sigmoid(),
            "Tanh": lambda: i[0].tanh(),
            "Add": lambda: i[0] + i[1],
            "Sub": lambda: i[0] - i[1],
            "Mul": lambda: i[0] * i[1],
            "Div": lambda: i[0] // i[1] if not i[0].is_floating_point() else i[0] / i[1],
            "MatMul": lambda: i[0] @ i[1],
            "Identity": lambda: i[0],
            "GlobalAveragePool": lambda: i[0].mean((2, 3), keepdim=True),
            "Flatten": lambda: i[0].flatten(a.get("axis", 1)),
            "Transpose": lambda: i[0].permute(a["perm"]),
            "Concat": lambda: torch.cat(i, a["axis"]),
            "Shape": lambda: torch.tensor(i[0].shape),
        }
        if op not in simple:
            sys.exit(f"{op} is not in this script's interpreter")
        return simple[op]()


def load(path, preprocess):
    """Samples as float32 NCHW after preprocessing, labels as int64."""
    if path.endswith(".npz"):
        arrays = np.load(path)
        labels = arrays["labels" if "labels" in arrays else "y"]
        images = next(arrays[name] for name in arrays.files if name not in ("labels", "y"))
        if images.dtype.kind == "f":
            return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
    else:
        from PIL import Image

        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.lower().endswith((".jpg", ".jpeg", ".png"))]
            folder = lambda name: os.path.basename(os.path.dirname(name))
            names.sort(key=lambda name: (folder(name).encode(), name.encode()))
            classes = sorted({folder(name) for name in names}, key=str.encode)
            labels = np.array([classes.index(folder(name)) for name in names])
            images = np.stack([
                np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")).transpose(2, 0, 1) for name in names
            ])
    shape = (1, -1) + (1,) * (images.ndim - 2)
    x = images.astype(np.float32) / np.float32(preprocess.get("divide_by", 255))
    x -= np.array(preprocess.get("mean", [0]), np.float32).reshape(shape)
    x /= np.array(preprocess.get("std", [1]), np.float32).reshape(shape)
    return torch.from_numpy(x), torch.from_numpy(labels.astype(np.int64))


def ours(binary, model, dataset, out, spec, preprocess):
    """Runs this project's retraining; returns its report and the seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name, content in (("spec.json", spec), ("preprocess.json", preprocess)):
            files.append(os.path.join(folder, name))
            with open(files[-1], "w") as file:
                json.dump(content, file)
        begun = time.time()
        done = subprocess.run([binary, model, dataset, out, *files], capture_output=True, text=True)
        seconds = time.time() - begun
    if done.returncode:
        sys.exit(done.stderr)
    print("\n".join(done.stdout.splitlines()[:-1]))
    return json.loads(done.stdout.splitlines()[-1]), seconds


def gradients(options):
    """One step of plain gradient descent on one batch, by both."""
    x, y = load(options.dataset, options.preprocess)
    # Evenly over the file, so that the classes are mixed; the seed moves the beginning.
    picked = (torch.arange(options.batch) * (len(x) // options.batch) + options.seed) % len(x)
    x, y = x[picked], y[picked]
    rate = 1024.0
    spec = {
        "epochs": 1, "batch_size": options.batch, "validation_fraction": 0.0, "schedule": {"kind": "constant"},
        "optimizer": {"kind": "sgd", "learning_rate": rate, "momentum": 0.0, "weight_decay": 0.0},
    }
    with tempfile.TemporaryDirectory() as folder:
        batch, out = os.path.join(folder, "batch.npz"), os.path.join(folder, "out.onnx")
        np.savez(batch, x=x.numpy(), y=y.numpy())
        ours(options.binary, options.model, batch, out, spec, {})
        before, after = Network(options.model), Network(out)
    double = before.double()
    double.constants = {k: v.double() if v.is_floating_point() else v for k, v in double.constants.items()}
    double.statistics = {k: [v.double() for v in pair] for k, pair in double.statistics.items()}
    start = {k: w.detach().clone() for k, w in double.weights.items()}
    loss = F.cross_entropy(double(x.double()), y)
    loss.backward()
    # Names of vectors that were untied differ after export; their order does not.
    worst = 0.0
    for (name, old), new in zip(start.items(), after.weights.values()):
        expected = double.weights[name].grad
        found = (old - new.detach().double()) / rate
        error = ((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12)).item()
        worst = max(worst, error)
        if options.verbose or error > options.tolerance:
            print(f"{name:50} {tuple(old.shape)!s:20} {error:.1e}")
    moved = 0.0
    for index, pair in double.statistics.items():
        for expected, found in zip(pair, after.statistics[index]):
            moved = max(moved, ((expected - found.double()).abs().max() / expected.abs().max().clamp_min(1e-12)).item())
    print(f"loss {loss.item():.6f}; largest gradient error relative to its tensor {worst:.1e}; of running statistics {moved:.1e}")
    return worst <= options.tolerance and moved <= options.tolerance


def accuracy(network, x, y):
    network.eval()
    with torch.no_grad():
        hits = sum((network(a).argmax(1) == b).sum().item() for a, b in zip(x.split(250), y.split(250)))
    return 100.0 * hits / len(x)


def theirs(options, x, y):
    """The same training in PyTorch; returns the network and the seconds of its steps."""
    network = Network(options.model)
    network.train()
    groups = [[w for k, w in network.weights.items() if (k in network.decayed) == decayed] for decayed in (True, False)]
    optimizer = torch.optim.SGD(
        [{"params": groups[0], "weight_decay": options.weight_decay}, {"params": groups[1], "weight_decay": 0.0}],
        lr=options.learning_rate, momentum=0.9)
    steps = len(x) // options.batch
    left = min(steps * options.epochs, options.max_steps or steps * options.epochs)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, left)
    images = x.numpy()
    begun = time.time()
    for epoch in range(options.epochs):
        total, here = 0.0, min(steps, left)
        left -= here
        order = same_batches.order(len(x), options.seed, epoch)[: here * options.batch]
        for picked in order.reshape(here, options.batch):
            batch = images[picked]
            if options.flip or options.crop_padding:
                batch = same_batches.changed(images, picked, options.seed, epoch, options.crop_padding, options.flip)
            batch, labels = torch.from_numpy(batch), y[torch.from_numpy(picked)]
            optimizer.zero_grad()
            loss = F.cross_entropy(network(batch), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if here:
            print(f"PyTorch epoch {epoch + 1}: loss {total / here:.4f}")
    return network, time.time() - begun


def retrain(options):
    """The same epochs by both, tested on the same images."""
    spec = {
        "epochs": options.epochs, "max_steps": options.max_steps, "batch_size": options.batch, "seed": options.seed,
        "validation_fraction": 0.0, "schedule": {"kind": "cosine"},
        "augment": {"horizontal_flip": options.flip, "crop_padding": options.crop_padding},
        "optimizer": {"kind": "sgd", "learning_rate": options.learning_rate, "momentum": 0.9,
                      "weight_decay": options.weight_decay},
    }
    test = load(options.test, options.preprocess)
    print(f"before: {accuracy(Network(options.model), *test):.2f} %")
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.onnx")
        preprocess = {**options.preprocess, "size": options.size}
        report, seconds = ours(options.binary, options.model, options.dataset, out, spec, preprocess)
        mine = accuracy(Network(out), *test)
    network, torch_seconds = theirs(options, *load(options.dataset, options.preprocess))
    other = accuracy(network, *test)
    print(f"Secateur: {mine:.2f} %, {seconds:.0f} s, {report['samples_per_second']:.0f} samples/s in its steps")
    print(f"PyTorch:  {other:.2f} %, {torch_seconds:.0f} s")
    return mine >= other - 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["gradients", "retrain"])
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("--test")
    parser.add_argument("--preprocess", type=json.loads, default=CIFAR, help="JSON; CIFAR-10's by default")
    parser.add_argument("--size", type=json.loads, default=[32, 32], help="height and width of images, as JSON")
    parser.add_argument("--binary", default="target/debug/examples/retrain")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--max-steps", type=int, help="fewer steps than the epochs have")
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--crop-padding", type=int, default=4)
    parser.add_argument("--no-flip", dest="flip", action="store_false")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sys.exit(0 if (gradients if options.what == "gradients" else retrain)(options) else 1)


if __name__ == "__main__":
    main()

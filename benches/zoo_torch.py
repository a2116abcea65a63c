"""What Torch-Pruning leaves of the architectures of the zoo when half of the channels of every group go.

    pip install torch torchvision torch-pruning
    python benches/zoo_torch.py

Prints the share of the parameters and of the multiply-accumulates that is left, and the time of tracing, scoring and
cutting. The networks are torchvision's at full width with random weights and ten classes, and two written here; shares of
other widths differ by what the first and the last layer weigh.
"""

import time

import torch
import torch_pruning
import torchvision


class Recurrent(torch.nn.Module):
    """Token ids, two bidirectional LSTM layers, a dense layer on the last step."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(500, 64)
        self.layers = torch.nn.LSTM(64, 64, 2, batch_first=True, bidirectional=True)
        self.head = torch.nn.Linear(128, 10)

    def forward(self, ids):
        return self.head(self.layers(self.embedding(ids))[0][:, -1])


class Encoder(torch.nn.Module):
    """Token ids, two transformer layers of four heads, a dense layer on the mean."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(500, 96)
        self.position = torch.nn.Parameter(torch.randn(1, 32, 96))
        layer = torch.nn.TransformerEncoderLayer(96, 4, 192, batch_first=True)
        self.layers = torch.nn.TransformerEncoder(layer, 2)
        self.head = torch.nn.Linear(96, 10)

    def forward(self, ids):
        return self.head(self.layers(self.embedding(ids) + self.position).mean(1))


def cut(name, model, example):
    """Prunes by L2 norm, half of each group, the classes kept; prints what is left or why not."""
    model.eval()
    heads = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == 10]
    macs, parameters = torch_pruning.utils.count_ops_and_params(model, example)
    begun = time.perf_counter()
    try:
        importance = torch_pruning.importance.MagnitudeImportance(p=2)
        torch_pruning.pruner.MagnitudePruner(
            model, example, importance=importance, pruning_ratio=0.5, ignored_layers=heads
        ).step()
        seconds = time.perf_counter() - begun
        model(example)
    except Exception as error:  # whatever it fails with is the result
        print(f"{name}: failed with {type(error).__name__}: {error}")
        return
    macs_left, parameters_left = torch_pruning.utils.count_ops_and_params(model, example)
    print(f"{name}: parameters {parameters_left / parameters:.3f}, MACs {macs_left / macs:.3f}, {seconds:.2f} s")


def main():
    torch.manual_seed(0)
    image = torch.randn(1, 3, 224, 224)
    for name in ["resnet18", "vgg11_bn", "mobilenet_v2", "shufflenet_v2_x0_5"]:
        cut(name, getattr(torchvision.models, name)(weights=None, num_classes=10), image)
    googlenet = torchvision.models.googlenet(weights=None, num_classes=10, aux_logits=False, init_weights=False)
    cut("googlenet", googlenet, image)
    cut("lstm_cls", Recurrent(), torch.randint(0, 500, (1, 16)))
    cut("encoder_torch", Encoder(), torch.randint(0, 500, (1, 32)))


if __name__ == "__main__":
    main()

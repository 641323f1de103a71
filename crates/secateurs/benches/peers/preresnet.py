"""The PreResNet-29 of `assets/cifar10-preresnet29.onnx`, with random weights; parameters have the names that they have there."""
import torch.nn as nn, torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, inp, width, out, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inp), nn.Conv2d(inp, width, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3, self.conv3 = nn.BatchNorm2d(width), nn.Conv2d(width, out, 1, bias=False)
        self.short = nn.Conv2d(inp, out, 1, stride, bias=False) if stride > 1 or inp != out else None

    def forward(self, x):
        h = F.relu(self.bn1(x))
        skip = x if self.short is None else self.short(x)
        h = self.conv1(h)
        h = self.conv2(F.relu(self.bn2(h)))
        return self.conv3(F.relu(self.bn3(h))) + skip


class PreResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        blocks, inp = [], 16
        for stage, width in enumerate([16, 32, 64]):
            for i in range(3):
                blocks.append(Block(inp, width, 4 * width, 2 if stage and i == 0 else 1))
                inp = 4 * width
        self.blocks, self.bn, self.fc = nn.Sequential(*blocks), nn.BatchNorm2d(inp), nn.Linear(inp, 10)

    def forward(self, x):
        return self.fc(F.relu(self.bn(self.blocks(self.conv(x)))).mean((2, 3)))

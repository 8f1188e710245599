"""SEG-CSS and CLS as one would first write them in PyTorch: the baselines that the project is measured against.

Ordinary modules in float32, nothing folded or shared: four flips one after another and a selective scan that loops over
the tokens in Python, as mamba-ssm's own reference does. They load the same state_dict as the project's networks.
"""

import torch
import torch.nn.functional as F
from torch import nn


def sequential_scan(u, delta, A, B, C, D):
    """u, delta (batch, E, L); A (E, N); B, C (batch, N, L); D (E,). Return y (batch, E, L)."""
    decay = torch.exp(torch.einsum("bel,en->beln", delta, A))
    drive = torch.einsum("bel,bnl,bel->beln", delta, B, u)
    state = torch.zeros_like(drive[:, :, 0])
    outputs = []
    for t in range(u.shape[2]):
        state = decay[:, :, t] * state + drive[:, :, t]
        outputs.append(torch.einsum("ben,bn->be", state, C[:, :, t]))
    return torch.stack(outputs, dim=2) + u * D[:, None]


class Mamba(nn.Module):
    """Tokens (batch, L, width) to tokens of the same shape."""

    def __init__(self, width, state_size=16, kernel_size=4, expand=2):
        super().__init__()
        self.inner, self.rank, self.state_size = expand * width, -(-width // 16), state_size
        self.in_proj = nn.Linear(width, 2 * self.inner, bias=False)
        self.conv1d = nn.Conv1d(self.inner, self.inner, kernel_size, groups=self.inner, padding=kernel_size - 1)
        self.x_proj = nn.Linear(self.inner, self.rank + 2 * state_size, bias=False)
        self.dt_proj = nn.Linear(self.rank, self.inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, state_size + 1)).repeat(self.inner, 1))
        self.D = nn.Parameter(torch.ones(self.inner))
        self.out_proj = nn.Linear(self.inner, width, bias=False)

    def forward(self, tokens):
        x, z = self.in_proj(tokens).transpose(1, 2).chunk(2, dim=1)
        x = F.silu(self.conv1d(x)[:, :, : tokens.shape[1]])
        sizes = [self.rank, self.state_size, self.state_size]
        delta, B, C = self.x_proj(x.transpose(1, 2)).split(sizes, dim=2)
        delta = F.softplus(self.dt_proj(delta)).transpose(1, 2)
        y = sequential_scan(x, delta, -torch.exp(self.A_log), B.transpose(1, 2), C.transpose(1, 2), self.D)
        return self.out_proj((y * F.silu(z)).transpose(1, 2))


class MambaLayer(nn.Module):
    """1x1x1 convolution, mean of Mamba over flips, 1x1x1 convolution; (batch, C, z, y, x) unchanged in shape."""

    def __init__(self, channels, state_size=16, flips=((2,), (1,), (1, 2))):
        super().__init__()
        self.flips = flips
        self.nin, self.norm = nn.Conv3d(channels, channels, 1, bias=False), nn.BatchNorm3d(channels)
        self.nin2, self.norm2 = nn.Conv3d(channels, channels, 1, bias=False), nn.BatchNorm3d(channels)
        self.mamba = Mamba(channels, state_size)

    def forward(self, x):
        a = F.relu(self.norm(self.nin(x)))
        tokens = a.flatten(2).transpose(1, 2)
        mixed = self.mamba(tokens)
        for dims in self.flips:
            mixed = mixed + self.mamba(tokens.flip(dims)).flip(dims)
        mixed = (mixed / (1 + len(self.flips))).transpose(1, 2).reshape(a.shape)
        return F.relu(self.norm2(self.nin2(mixed + a)))


class BasicBlock(nn.Module):
    def __init__(self, i, o, stride=1, mamba_layer=None):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv3d(i, o, 3, stride, 1, bias=False), nn.BatchNorm3d(o)
        self.conv2, self.bn2 = nn.Conv3d(o, o, 3, 1, 1, bias=False), nn.BatchNorm3d(o)
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv3d(i, o, 1, stride, bias=False), nn.BatchNorm3d(o))
        if mamba_layer is not None:
            self.mamba_layer = mamba_layer
        self.stride = stride

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.stride != 1:
            return F.relu(y + self.downsample(x), inplace=True)
        if hasattr(self, "mamba_layer"):
            y = y + self.mamba_layer(x)
        return F.relu(y + x, inplace=True)


class Gate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layer1, self.layer2 = nn.Linear(channels, channels // 16), nn.Linear(channels // 16, channels)

    def forward(self, x):
        weight = torch.sigmoid(self.layer2(F.relu(self.layer1(x.mean(dim=(2, 3, 4))))))
        return x * weight[:, :, None, None, None]


class DoubleConv(nn.Module):
    def __init__(self, i, o, stride=1):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv3d(i, o, 3, stride, 1), nn.BatchNorm3d(o), nn.ReLU(inplace=True),
            nn.Conv3d(o, o, 3, 1, 1), nn.BatchNorm3d(o), nn.ReLU(inplace=True),
        )  # fmt: skip

    def forward(self, x):
        return self.conv(x)


def stage(i, o, mamba=True):
    shared = MambaLayer(o) if mamba else None
    return nn.Sequential(
        BasicBlock(i, o, stride=2), BasicBlock(o, o, mamba_layer=shared), BasicBlock(o, o, mamba_layer=shared)
    )


class PlainSegCss(nn.Module):
    """(batch, in_channels, z, y, x) to (batch, out_channels, z, y, x); sizes divide by 16."""

    def __init__(self, in_channels, out_channels, width=32):
        super().__init__()
        c = width
        self.in_conv = DoubleConv(in_channels, c, stride=2)
        self.layer1, self.layer2, self.layer3 = stage(c, 2 * c), stage(2 * c, 4 * c), stage(4 * c, 8 * c)
        self.att1, self.att2, self.att3 = Gate(c), Gate(2 * c), Gate(4 * c)
        self.conv5, self.conv6 = DoubleConv(12 * c, 4 * c), DoubleConv(6 * c, 2 * c)
        self.conv7, self.conv8 = DoubleConv(3 * c, c), DoubleConv(c, out_channels)

    def forward(self, x):
        c1 = self.in_conv(x)
        c2 = self.layer1(c1)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        c5 = self.conv5(torch.cat([upsample(c4), self.att3(c3)], dim=1))
        c6 = self.conv6(torch.cat([upsample(c5), self.att2(c2)], dim=1))
        c7 = self.conv7(torch.cat([upsample(c6), self.att1(c1)], dim=1))
        return self.conv8(upsample(c7))


def upsample(x):
    return F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)


class PlainClassifier(nn.Module):
    """CLS: (batch, in_channels, z, y, x) to logits (batch, out_channels); a Mamba layer without flips at the stem."""

    def __init__(self, in_channels, out_channels, width=32):
        super().__init__()
        c = width
        self.in_conv, self.mamba_layer_stem = DoubleConv(in_channels, c, stride=2), MambaLayer(c, 8, flips=())
        self.layer1, self.layer2 = stage(c, 2 * c, mamba=False), stage(2 * c, 4 * c, mamba=False)
        self.layer3 = stage(4 * c, 8 * c, mamba=False)
        self.mlp = nn.Sequential(nn.Linear(14 * c, c), nn.ReLU(), nn.Dropout(0.5), nn.Linear(c, out_channels))

    def forward(self, x):
        c1 = self.in_conv(x)
        c2 = self.layer1(self.mamba_layer_stem(c1) + c1)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return self.mlp(torch.cat([c.mean(dim=(2, 3, 4)) for c in (c2, c3, c4)], dim=1))

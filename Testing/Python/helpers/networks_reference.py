"""Every nnMamba variant as a plain function of its state_dict, in float64.

Written from the specification and independent of NNMambaLib: no modules, no shared work between flips, the scan one
token after another. Volumes are (batch, channel, z, y, x); tokens are (batch, L, channel) with x fastest.
"""

import torch
import torch.nn.functional as F

from helpers.selective_scan_reference import selective_scan

EPS = 1e-5  # of BatchNorm and LayerNorm

GATED = ("SEG-CSS", "SEG-CSS-FULL", "SEG-NNU", "SEG-NNU2")
CLASSIFIERS = ("CLS", "CLS-MAX", "CLS-SEQ", "V1-CLS")


def forward(state_dict, variant, x, training=False):
    """Return a list of float64 outputs for x (batch, channel, z, y, x).

    Encoder-decoders give [logits (batch, K, z, y, x)], and in training with deep supervision also the heads at 1/2, 1/4
    and 1/8; classifiers give [logits (batch, K)]. ``training`` means BatchNorm uses batch statistics; dropout is never
    applied. Gradients flow to whatever requires them.
    """
    network = Network({key: value.double() for key, value in state_dict.items()}, training)
    if variant in CLASSIFIERS:
        return [network.classify(variant, x.double())]
    return network.segment(variant, x.double())


class Network:
    """The state_dict in float64 and the layers read from it; ``name`` is always a prefix of keys."""

    def __init__(self, weights, training):
        self.weights = weights
        self.training = training

    # --- the two families ------------------------------------------------------------------------------------------

    def segment(self, variant, x):
        c1 = self.double_conv("in_conv", x, stride=2)
        c2, c3, c4 = self.encode(variant, c1)
        skips = [c1, c2, c3]
        if variant in GATED:
            skips = [skip * self.gate(f"att{i}", skip) for i, skip in enumerate(skips, start=1)]

        c5 = self.decode("conv5", c4, skips[2])
        c6 = self.decode("conv6", c5, skips[1])
        c7 = self.decode("conv7", c6, skips[0])
        if variant == "SEG-CSS-FULL":
            finest = self.conv("narrow", upsample(c7), padding=0) + self.double_conv("full_conv", x)
            outputs = [self.conv("output", self.double_conv("conv8", finest), padding=0)]
        else:
            outputs = [self.double_conv("conv8", upsample(c7))]
        if self.training and "ds1_cls_conv.weight" in self.weights:
            outputs += [self.conv(f"ds{i}_cls_conv", c, padding=0) for i, c in ((1, c7), (2, c6), (3, c5))]
        return outputs

    def encode(self, variant, c1):
        if variant == "V1-LAND":
            c1 = self.mamba_ln("mamba_layer_stem", c1) + c1
        features = []
        x = c1
        for k in (1, 2, 3):
            c = self.stage(f"layer{k}", x, variant)
            x = self.mamba_ln(f"mamba_layer_{k}", c) + c if variant == "V1-SEG" else c
            features.append(c)
        features[-1] = x  # the decoder starts from the deepest features after their mamba layer
        return features

    def classify(self, variant, x):
        c1 = self.double_conv("in_conv", x, stride=2)
        stem = self.mamba_ln if variant == "V1-CLS" else self.mamba_mic
        c1 = c1 + stem("mamba_layer_stem", c1)
        c2 = self.stage("layer1", c1, variant)
        c3 = self.stage("layer2", c2, variant)
        c4 = self.stage("layer3", c3, variant)
        if variant == "V1-CLS":
            pooled = c4.mean(dim=(2, 3, 4))
        elif variant == "CLS-MAX":
            pooled = torch.cat([f for c in (c2, c3, c4) for f in (c.mean(dim=(2, 3, 4)), c.amax((2, 3, 4)))], dim=1)
        else:
            pooled = torch.cat([c.mean(dim=(2, 3, 4)) for c in (c2, c3, c4)], dim=1)
        if variant == "CLS-SEQ":
            pooled = self.mamba_sequence("mamba_seq", pooled)
        return self.linear("mlp.3", F.relu(self.linear("mlp.0", pooled)))

    # --- convolutional parts ---------------------------------------------------------------------------------------

    def stage(self, name, x, variant):
        x = self.basic_block(f"{name}.0", x, stride=2)
        layer = {
            "SEG-CSS": self.mamba_mic_css,
            "SEG-CSS-FULL": self.mamba_mic_css,
            "SEG-NNU": self.mamba_bn,
            "SEG-NNU2": self.mamba_bn,
        }.get(variant)
        for i in (1, 2):
            x = self.basic_block(f"{name}.{i}", x, stride=1, mamba_layer=layer)
        return x

    def basic_block(self, name, x, stride, mamba_layer=None):
        y = F.relu(self.batch_norm(f"{name}.bn1", self.conv(f"{name}.conv1", x, stride)))
        y = self.batch_norm(f"{name}.bn2", self.conv(f"{name}.conv2", y))
        if mamba_layer is not None:
            y = y + mamba_layer(f"{name}.mamba_layer", x)
        identity = x
        if stride != 1:
            identity = self.conv(f"{name}.downsample.0", x, stride, padding=0)
            identity = self.batch_norm(f"{name}.downsample.1", identity)
        return F.relu(y + identity)

    def double_conv(self, name, x, stride=1):
        x = F.relu(self.batch_norm(f"{name}.conv.1", self.conv(f"{name}.conv.0", x, stride)))
        return F.relu(self.batch_norm(f"{name}.conv.4", self.conv(f"{name}.conv.3", x)))

    def decode(self, name, x, skip):
        return self.double_conv(name, torch.cat([upsample(x), skip], dim=1))

    def gate(self, name, x):
        pooled = x.mean(dim=(2, 3, 4))
        weight = torch.sigmoid(self.linear(f"{name}.layer2", F.relu(self.linear(f"{name}.layer1", pooled))))
        return weight[:, :, None, None, None]

    # --- mamba layers ----------------------------------------------------------------------------------------------

    def mamba_ln(self, name, x):
        tokens = to_tokens(x)
        norm = F.layer_norm(
            tokens, tokens.shape[-1:], self.weights[f"{name}.norm.weight"], self.weights[f"{name}.norm.bias"], EPS
        )
        return to_volume(self.mamba(f"{name}.mamba", norm), x)

    def mamba_bn(self, name, x):
        a = self.mixed_in(name, x)
        return to_volume(self.mamba(f"{name}.mamba", to_tokens(a)), x)

    def mamba_mic(self, name, x):
        a = self.mixed_in(name, x)
        m = to_volume(self.mamba(f"{name}.mamba", to_tokens(a)), x)
        return self.mixed_out(name, m + a)

    def mamba_mic_css(self, name, x):
        a = self.mixed_in(name, x)
        tokens = to_tokens(a)
        sequence, channel = 1, 2
        total = 0
        for dims in ([], [channel], [sequence], [sequence, channel]):
            total = total + torch.flip(self.mamba(f"{name}.mamba", torch.flip(tokens, dims)), dims)
        return self.mixed_out(name, to_volume(total / 4, x) + a)

    def mamba_sequence(self, name, pooled):
        """pooled (batch, 64 + 128 + 256) -> (batch, 448): seven tokens of 64 channels each."""
        width = pooled.shape[1] // 7
        parts = torch.split(pooled, [width, 2 * width, 4 * width], dim=1)
        x = torch.cat([part.reshape(len(pooled), width, -1) for part in parts], dim=2)  # (batch, 64, 7)
        x = F.relu(x)
        y = self.mamba(f"{name}.mamba", x.transpose(1, 2)).transpose(1, 2) + x
        return y.flatten(1)

    def mixed_in(self, name, x):
        return F.relu(self.batch_norm(f"{name}.norm", self.conv(f"{name}.nin", x, padding=0)))

    def mixed_out(self, name, x):
        return F.relu(self.batch_norm(f"{name}.norm2", self.conv(f"{name}.nin2", x, padding=0)))

    def mamba(self, name, tokens):
        """One Mamba block on tokens (batch, L, channel)."""
        w = {key.removeprefix(f"{name}."): value for key, value in self.weights.items() if key.startswith(f"{name}.")}
        length = tokens.shape[1]
        expanded, kernel_size = w["conv1d.weight"].shape[0], w["conv1d.weight"].shape[2]
        rank, state_size = w["dt_proj.weight"].shape[1], w["A_log"].shape[1]

        x, z = F.linear(tokens, w["in_proj.weight"]).split(expanded, dim=2)
        x = F.conv1d(x.transpose(1, 2), w["conv1d.weight"], w["conv1d.bias"], padding=kernel_size - 1, groups=expanded)
        x = F.silu(x[:, :, :length]).transpose(1, 2)
        delta, B, C = F.linear(x, w["x_proj.weight"]).split([rank, state_size, state_size], dim=2)
        delta = F.linear(delta, w["dt_proj.weight"])
        y = selective_scan(
            x, delta, -torch.exp(w["A_log"]), B, C, w["D"], z, delta_bias=w["dt_proj.bias"], delta_softplus=True
        )
        return F.linear(y, w["out_proj.weight"])

    # --- layers as in torch.nn -------------------------------------------------------------------------------------

    def conv(self, name, x, stride=1, padding=1):
        return F.conv3d(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"), stride, padding)

    def linear(self, name, x):
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def batch_norm(self, name, x):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        if self.training:
            return F.batch_norm(x, None, None, weight, bias, training=True, eps=EPS)
        mean, var = self.weights[f"{name}.running_mean"], self.weights[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=EPS)


def upsample(x):
    return F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)


def to_tokens(x):
    """(batch, channel, z, y, x) -> (batch, L, channel)."""
    return x.flatten(2).transpose(1, 2)


def to_volume(tokens, like):
    """(batch, L, channel) -> (batch, channel, z, y, x), the grid taken from ``like``."""
    return tokens.transpose(1, 2).reshape(like.shape)

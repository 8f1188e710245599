"""The published variants: their sizes, their parameter names, and how a state_dict tells which one it is."""

from dataclasses import replace

import pytest
import torch

from helpers.perturbed_networks import build_network, perturbed_network
from NNMambaLib.errors import ModelError
from NNMambaLib.networks.state_dicts import load_network, recognize
from NNMambaLib.networks.variants import VARIANTS, build

# variant, input channels, outputs, state_dict keys, parameters (of the authors' networks)
PUBLISHED = [
    ("SEG-CSS", 1, 6, 334, 15_944_958),
    ("SEG-CSS", 1, 16, 334, 15_959_598),
    ("SEG-CSS", 4, 4, 334, 15_945_270),
    ("SEG-CSS-FULL", 1, 6, 351, 15_960_740),  # ours
    ("SEG-CSS-FULL", 4, 4, 351, 15_964_594),  # ours
    ("SEG-NNU", 1, 6, 304, 15_859_408),
    ("SEG-NNU", 1, 16, 304, 15_876_318),
    ("SEG-NNU", 4, 4, 304, 15_859_266),
    ("SEG-NNU2", 1, 16, 304, 15_873_594),
    ("V1-SEG", 1, 6, 229, 15_769_104),
    ("V1-LAND", 1, 6, 207, 15_191_312),
    ("CLS", 1, 1, 165, 12_876_321),
    ("CLS-MAX", 1, 1, 165, 12_919_393),  # ours
    ("CLS-SEQ", 1, 1, 174, 12_905_633),
    ("V1-CLS", 1, 1, 155, 12_869_601),
]


def small_state_dict(variant, **options):
    """Weights of a narrow network of the variant with 2 input channels and 5 outputs."""
    options = {"in_channels": 2, "out_channels": 5, "base_width": 16, **options}
    return build_network(variant, **options).state_dict()


# --- sizes and names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "in_channels", "out_channels", "keys", "parameters"), PUBLISHED)
def test_has_the_published_size(variant, in_channels, out_channels, keys, parameters):
    with torch.device("meta"):
        network = build_network(variant, in_channels, out_channels)
    assert len(network.state_dict()) == keys
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def under(prefix, names):
    return {f"{prefix}.{name}" for name in names}


AFFINE = {"weight", "bias"}
NORM = AFFINE | {"running_mean", "running_var", "num_batches_tracked"}
DOUBLE_CONV = under("conv.0", AFFINE) | under("conv.1", NORM) | under("conv.3", AFFINE) | under("conv.4", NORM)
MAMBA = under(
    "mamba",
    {"in_proj.weight", "x_proj.weight", "out_proj.weight", "A_log", "D"}
    | under("conv1d", AFFINE)
    | under("dt_proj", AFFINE),
)
LAYER_NORM_MAMBA = under("norm", AFFINE) | MAMBA
CONV_MAMBA = {"nin.weight"} | under("norm", NORM) | MAMBA
FUSED_MAMBA = CONV_MAMBA | {"nin2.weight"} | under("norm2", NORM)


def encoder(block_mamba=frozenset()):
    block = {"conv1.weight", "conv2.weight"} | under("bn1", NORM) | under("bn2", NORM)
    downsample = {"downsample.0.weight"} | under("downsample.1", NORM)
    names = under("in_conv", DOUBLE_CONV)
    for layer in ("layer1", "layer2", "layer3"):
        names |= under(f"{layer}.0", block | downsample)
        names |= under(f"{layer}.1", block | under("mamba_layer", block_mamba))
        names |= under(f"{layer}.2", block | under("mamba_layer", block_mamba))
    return names


FULL_RESOLUTION = under("full_conv", DOUBLE_CONV) | {"narrow.weight"} | under("output", AFFINE)
DECODER = {name for conv in ("conv5", "conv6", "conv7", "conv8") for name in under(conv, DOUBLE_CONV)}
GATES = {f"att{i}.layer{j}.{name}" for i in (1, 2, 3) for j in (1, 2) for name in AFFINE}
HEADS = {f"ds{i}_cls_conv.{name}" for i in (1, 2, 3) for name in AFFINE}
STAGE_MAMBA = {name for i in (1, 2, 3) for name in under(f"mamba_layer_{i}", LAYER_NORM_MAMBA)}
PERCEPTRON = under("mlp.0", AFFINE) | under("mlp.3", AFFINE)

NAMES = {
    "SEG-CSS": encoder(FUSED_MAMBA) | GATES | DECODER,
    "SEG-CSS-FULL": encoder(FUSED_MAMBA) | GATES | DECODER | FULL_RESOLUTION,
    "SEG-NNU": encoder(CONV_MAMBA) | GATES | DECODER | HEADS,
    "SEG-NNU2": encoder(CONV_MAMBA) | GATES | DECODER | HEADS,
    "V1-SEG": encoder() | STAGE_MAMBA | DECODER,
    "V1-LAND": encoder() | under("mamba_layer_stem", LAYER_NORM_MAMBA) | DECODER,
    "CLS": encoder() | under("mamba_layer_stem", FUSED_MAMBA) | PERCEPTRON,
    "CLS-MAX": encoder() | under("mamba_layer_stem", FUSED_MAMBA) | PERCEPTRON,
    "CLS-SEQ": encoder() | under("mamba_layer_stem", FUSED_MAMBA) | under("mamba_seq", MAMBA) | PERCEPTRON,
    "V1-CLS": encoder() | under("mamba_layer_stem", LAYER_NORM_MAMBA) | PERCEPTRON,
}


@pytest.mark.parametrize("variant", NAMES)
def test_parameters_have_the_checkpoints_names(variant):
    assert set(small_state_dict(variant)) == NAMES[variant]


def test_no_variant_is_left_out():
    assert set(VARIANTS) == set(NAMES) == {variant for variant, *_ in PUBLISHED}


def test_blocks_of_a_stage_share_one_mamba_layer():
    stage = build_network("SEG-CSS", 1, 2, base_width=16).layer2
    assert stage[1].mamba_layer is stage[2].mamba_layer


@pytest.mark.parametrize("variant", ["SEG-CSS", "SEG-CSS-FULL", "V1-SEG", "V1-LAND"])
def test_deep_supervision_can_be_added(variant):
    assert set(small_state_dict(variant, deep_supervision=True)) == NAMES[variant] | HEADS


def test_deep_supervision_can_be_left_out():
    assert set(small_state_dict("SEG-NNU", deep_supervision=False)) == NAMES["SEG-NNU"] - HEADS


# --- recognising ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "module."], ids=["plain", "data parallel"])
@pytest.mark.parametrize("variant", NAMES)
def test_recognises_its_own_weights(variant, prefix):
    state = {prefix + key: value for key, value in small_state_dict(variant).items()}
    found = recognize(state)
    assert (found.variant, found.in_channels, found.out_channels, found.base_width) == (variant, 2, 5, 16)


@pytest.mark.parametrize(
    ("variant", "deep_supervision", "head_channels"),
    [
        ("SEG-CSS", None, None),
        ("SEG-CSS", True, 5),
        ("SEG-CSS-FULL", True, 5),
        ("SEG-NNU", None, 5),
        ("SEG-NNU2", None, 4),
        ("CLS", None, None),
    ],
)
def test_recognises_the_heads(variant, deep_supervision, head_channels):
    found = recognize(small_state_dict(variant, deep_supervision=deep_supervision))
    assert (found.variant, found.head_channels) == (variant, head_channels)


@pytest.mark.parametrize("variant", NAMES)
def test_reads_the_sizes_of_the_mamba_layers(variant):
    description = replace(recognize(small_state_dict(variant)), d_state=5, d_conv=3, expand=3)
    assert recognize(build(description).state_dict()) == description
    assert recognize(small_state_dict(variant)).d_state is None


def test_without_heads_the_two_nnunet_variants_are_one_network():
    assert recognize(small_state_dict("SEG-NNU2", deep_supervision=False)).variant == "SEG-NNU"


@pytest.mark.parametrize("variant", NAMES)
def test_loads_what_was_saved(variant):
    saved = perturbed_network(variant, base_width=16).state_dict()
    loaded = load_network({f"module.{key}": value for key, value in saved.items()})
    assert not loaded.training
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, saved[key]), key


# --- refusing ------------------------------------------------------------------------------------------------------


def test_refuses_weights_of_another_network_by_their_first_keys():
    state = {f"encoder.{i}.weight": torch.zeros(3, 3) for i in range(9)}
    with pytest.raises(ModelError, match=r"encoder\.0\.weight, encoder\.1\.weight, encoder\.2\.weight"):
        recognize(state)


def test_refuses_an_empty_state_dict():
    with pytest.raises(ModelError, match="empty"):
        recognize({})


@pytest.mark.parametrize("variant", NAMES)
def test_names_a_key_too_many(variant):
    with pytest.raises(ModelError, match=rf"{variant}.*extra\.weight"):
        recognize({**small_state_dict(variant), "extra.weight": torch.zeros(1)})


def test_names_what_differs_from_the_nearest_variant():
    state = small_state_dict("SEG-NNU", deep_supervision=False)
    state["conv9.weight"] = state.pop("conv7.conv.0.weight")
    state["att1.layer1.bias"] = torch.zeros(7)
    sentence = (
        r"the nearest is SEG-NNU \(width 16, 2 in, 5 out\), and they have conv9\.weight beside, they lack "
        r"conv7\.conv\.0\.weight, att1\.layer1\.bias is 7 and should be 1"
    )
    with pytest.raises(ModelError, match=sentence):
        recognize(state)


@pytest.mark.parametrize("key", ["in_conv.conv.0.weight", "layer2.0.bn1.bias", "conv8.conv.3.weight"])
def test_names_a_missing_key(key):
    state = small_state_dict("SEG-CSS")
    del state[key]
    with pytest.raises(ModelError, match=key):
        recognize(state)


@pytest.mark.parametrize("key", ["layer2.0.conv1.weight", "layer1.1.mamba_layer.mamba.A_log", "conv8.conv.3.weight"])
def test_names_a_key_of_the_wrong_shape(key):
    state = small_state_dict("SEG-CSS")
    state[key] = state[key][..., :1]
    with pytest.raises(ModelError, match=key):
        recognize(state)


@pytest.mark.parametrize(
    ("variant", "key"),
    [
        ("CLS", "mlp.0.weight"),
        ("CLS", "mlp.3.weight"),
        ("SEG-CSS", "in_conv.conv.0.weight"),
        ("SEG-CSS-FULL", "output.weight"),
        ("V1-SEG", "conv8.conv.3.weight"),
        ("SEG-NNU", "ds1_cls_conv.weight"),
    ],
)
def test_names_a_telling_key_that_is_a_bare_number(variant, key):
    state = small_state_dict(variant)
    state[key] = torch.tensor(1.0)
    with pytest.raises(ModelError, match=key):
        recognize(state)


def test_refuses_shared_layers_whose_copies_differ():
    state = {key: value.clone() for key, value in small_state_dict("SEG-CSS").items()}
    state["layer2.2.mamba_layer.mamba.D"] += 1
    with pytest.raises(ModelError, match=r"layer2\.1\.mamba_layer\.mamba\.D and layer2\.2\.mamba_layer\.mamba\.D"):
        load_network(state)

"""The nnMamba networks.

`variants` names the published networks, `description` says what one is without torch, and `state_dicts` tells which one
a checkpoint belongs to. `encoder`, `encoder_decoder` and `classifier` are built of `layers`, these of `convolution` and
`mamba`. `scan` computes the selective scan; `folding` makes the form for inference.
"""

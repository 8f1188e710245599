"""The selective scan, from its definition to its kernels.

For training and everywhere else, `selective_scan.selective_scan` is the one entry: it checks shapes, chooses a backend
and calls its `scan`. Each backend module has `unavailable_reason()`, `refusal(device, dtype)` and `scan(...)`::

    selective_scan -> mamba_ssm_backend  CUDA, the package mamba-ssm
                   -> numba_backend      CPU, float32: kernels.scan, and kernels.scan_gradient for the gradient
                   -> torch_backend      every device and float type

`skip_and_gate` holds what backends that do not fuse it put around the recurrence (softplus of delta, D u, SiLU(z)), and
`causal_convolution` is the depthwise convolution that a Mamba block has before its scan.

For inference, `gated_scans.gated_scans` does what stands between in_proj and out_proj of a Mamba block, for one or two
orders of the channels and one or two directions at once: `kernels.gated_scan` where numba can be used, else the parts
above. Folded networks (`networks.folding`) call it; `Mamba` calls `selective_scan`.
"""

"""Folded networks: for inference on a CPU, the same function in fewer and faster steps.

`fold.fold` makes the folded network from a plain one in evaluation mode; the plain one stays the definition and is what
is trained. Weights are combined in float64, once, and the folded network has the same `forward`. Four things are
folded; volumes are (batch, channel, z, y, x) and tokens (batch, L, channel), as in `layers`.

1. BatchNorm into the convolution before it (`folded_convolution`). In evaluation mode BatchNorm is a y + b for each
   channel, with a = gamma / sqrt(var + eps) and b = beta - mean a. So for the convolution W * x + c::

       BatchNorm(W * x + c) = (a W) * x + (a c + b)

   is one convolution; a ReLU behind it is applied in place.

2. The four flips of ConvMamba (`folded_mamba`). A Mamba block is M(T) = S(T In') Out' for tokens T (L, d), the weights
   In of in_proj and Out of out_proj, and S, the causal convolution, selective scan and gate between them. ConvMamba is
   the mean of M over T, its channels flipped (T P), its sequence flipped (R T), and both (R T P), flipped back::

       [ M(T) + M(T P) P + R M(R T) + R M(R T P) P ] / 4

   - Channels: T P In' = T (In P)' and y Out' P = y (P Out)'. The flip moves into the columns of In and the rows of
     Out: one product with [In; In P] serves both orders of the channels, and one with [Out, P Out] / 4 their mean.
   - Sequence: in_proj, gate and out_proj work on each token alone, so R passes through them. Only the causal
     convolution and the scan see the order, and R scan(R x) is the scan from the last token to the first.

   What is left is one in_proj for two groups of channels, for each group two scans whose sum is gated once, and one
   out_proj: no flipped copy. Where ConvMamba fuses, ReLU(BatchNorm(V (m + a))) for Mamba's output m and input a, V and
   its BatchNorm multiply Out as well (point 1); V a stays a 1x1x1 convolution of its own.

3. The selective scan in both directions in one kernel (`scan.gated_scans`, `kernels.gated_scan`). It goes over the
   tokens forward, then backward, adds both and multiplies by SiLU(z); see `networks.scan`.

4. The last upsampling into the convolution behind it (`folded_upsampling`). Along an axis, the values 2 i and 2 i + 1
   of the upsampled volume and their neighbours are fixed combinations of values i - 1, i and i + 1. So a 3x3x3
   convolution of the upsampled volume is, for each of the eight voxels that come from one, a 3x3x3 convolution of the
   volume itself (the polyphase form): as many products, with no upsampled volume. Voxels on the border are computed
   apart, and the last convolution follows slab by slab along z.

Mamba blocks without flips (LayerNormMamba) take points 2 and 3 with one group and one direction. All else (skip gates,
pooling, the classifier's perceptron) stays as it is.
"""

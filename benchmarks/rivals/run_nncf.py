"""NNCF's weight compression of ONNX models: 4 bits in groups of 32, with a share of the layers at 8."""

import nncf
import onnx
from common import load, main


# Smaller groups where 32 does not divide the width, instead of an error.
fitting_groups = nncf.AdvancedCompressionParameters(
    group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST
)


def compress(needs_data=False, **options):
    def write(path, output, feeds):
        model = load(path, 21)
        data = {"dataset": nncf.Dataset(feeds)} if needs_data else {}
        compressed = nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode.INT4_ASYM,
            group_size=32,
            ignored_scope=nncf.IgnoredScope(names=behind_nodes(model), validate=False),
            advanced_parameters=fitting_groups,
            **data,
            **options,
        )
        onnx.save(compressed, output)

    return write


def behind_nodes(model):
    """Products whose weight is behind a node, as a tied head's is behind a Transpose: NNCF 3.4 fails on them."""
    constants = {tensor.name for tensor in model.graph.initializer}
    moved = {node.output[0] for node in model.graph.node if node.input and node.input[0] in constants}
    return [
        node.name for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in moved
    ]


variance = nncf.SensitivityMetric.MEAN_ACTIVATION_VARIANCE
methods = {
    "int4, rest int8": compress(),
    "80% int4, by data": compress(ratio=0.8, needs_data=True, sensitivity_metric=variance),
    "int4, scale estimation": compress(needs_data=True, scale_estimation=True),
    "int4, awq and scale estimation": compress(needs_data=True, awq=True, scale_estimation=True),
}

main("nncf", nncf.__version__, methods)

"""Qualcomm's AIMET for ONNX: weights only, 4 and 8 bits in blocks of 32, with grids searched by Sequential MSE on a
quarter of the calibration windows, which takes minutes."""

import aimet_onnx
import onnx
from aimet_onnx.quantsim import set_blockwise_quantization_for_weights
from aimet_onnx.utils import duplicate_shared_initializers
from common import load, main


def quantize(bits, symmetric=True, is_searched=False):
    def write(path, output, feeds):
        model = load(path, 21)
        duplicate_shared_initializers(model.graph)
        sim = aimet_onnx.QuantizationSimModel(
            model, param_type="int4" if bits == 4 else "int8", dummy_input=feeds[0]
        )
        for name in sim.activation_names:
            sim.qc_quantize_op_dict[name].enabled = False
        set_blockwise_quantization_for_weights(sim, ("MatMul", "Gemm"), bits, symmetric, 32)
        if is_searched:
            aimet_onnx.apply_seq_mse(sim, feeds[:16])
        sim.compute_encodings(feeds[:1])
        quantized = sim.to_onnx_qdq(prequantize_constants=True)
        share_again(quantized.graph)
        onnx.save(quantized, output)

    return write


def share_again(graph):
    """One tensor for equal ones: the tool wants a copy for every reader, and their bytes are not its weights."""
    kept = {}
    names = {}
    for tensor in list(graph.initializer):
        value = (tensor.data_type, *tensor.dims, onnx.numpy_helper.to_array(tensor).tobytes())
        names[tensor.name] = kept.setdefault(value, tensor.name)
        if names[tensor.name] != tensor.name:
            graph.initializer.remove(tensor)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


methods = {
    "int4": quantize(4),
    "int4, asymmetric": quantize(4, symmetric=False),
    "int4, sequential MSE": quantize(4, is_searched=True),
    "int8": quantize(8),
}

main("aimet-onnx", aimet_onnx.__version__, methods)

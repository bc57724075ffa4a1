"""onnxsim's quantizers that write low-bit weights: 4 bits in blocks of 32, a share of the layers at 8."""

import onnx
import onnxsim
from common import load, main


def data_free(quantize, opset=None):
    return lambda path, output, feeds: onnx.save(quantize(load(path, opset)), output)


def corrected(correct):
    """4-bit rounding, then a correction of its codes by calibration data."""

    def write(path, output, feeds):
        model = load(path, 21)
        rounded = onnxsim.quantize_weight_only_int4(model)
        onnx.save(correct(model, rounded, calibration_data=feeds), output)

    return write


def mixed(path, output, feeds):
    model = load(path, 21)
    onnx.save(onnxsim.apply_mixed_precision_quantization(model, calibration_data=feeds), output)


methods = {
    "matmul_nbits, 4 bits": data_free(onnxsim.quantize_weight_only_matmul_nbits, 21),
    "int4": data_free(onnxsim.quantize_weight_only_int4, 21),
    "int4, gptq": corrected(onnxsim.apply_gptq),
    "int4, gptaq": corrected(onnxsim.apply_gptaq),
    "int4, qronos": corrected(onnxsim.apply_qronos),
    "mixed precision, 20% int8": mixed,
}

main("onnxsim", onnxsim.__version__, methods)

"""ONNX Runtime's own tools: weight-only MatMulNBits by five methods, and dynamic int8, which rounds activations too."""

import onnxruntime
from common import Reader, load, main
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import (
    GPTQWeightOnlyQuantConfig,
    HQQWeightOnlyQuantConfig,
    KQuantWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
    RTNWeightOnlyQuantConfig,
)


def quantize(config, opset=None, **options):
    """A method that quantizes to 4 bits in blocks of 32, unless options say otherwise."""

    def write(path, output, feeds):
        model = load(path, opset)
        quantizer = MatMulNBitsQuantizer(
            model, block_size=32, algo_config=config and config(model, feeds), **options
        )
        quantizer.process()
        quantizer.model.save_model_to_file(output)

    return write


def all_bits(bits):
    def config(model, feeds):
        nodes = {node.name: {"bits": bits} for node in model.graph.node if node.op_type == "MatMul"}
        return KQuantWeightOnlyQuantConfig(customized_weight_config=nodes)

    return config


def gptq(model, feeds):
    return GPTQWeightOnlyQuantConfig(calibration_data_reader=Reader(feeds), mse=True, perchannel=True)


def hqq(bits):
    return lambda model, feeds: HQQWeightOnlyQuantConfig(block_size=32, bits=bits)


both = ("MatMul", "Gather")
methods = {
    "default, 4 bits": quantize(None),
    "default, 4 bits, embedding too": quantize(None, 21, op_types_to_quantize=both),
    "default, 8 bits": quantize(None, bits=8),
    "default, 2 bits": quantize(None, bits=2),
    "rtn, 4 bits": quantize(lambda model, feeds: RTNWeightOnlyQuantConfig()),
    "k_quant, 4 bits": quantize(lambda model, feeds: KQuantWeightOnlyQuantConfig()),
    "k_quant, 8 bits": quantize(all_bits(8)),
    "gptq, 4 bits": quantize(gptq),
    "hqq, 4 bits": quantize(hqq(4)),
    "dynamic int8": lambda path, output, feeds: quantize_dynamic(
        path, output, weight_type=QuantType.QInt8
    ),
    "dynamic int8, per channel": lambda path, output, feeds: quantize_dynamic(
        path, output, weight_type=QuantType.QInt8, per_channel=True
    ),
}

main("onnxruntime", onnxruntime.__version__, methods)

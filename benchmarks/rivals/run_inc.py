"""Intel Neural Compressor for ONNX: MatMulNBits by three methods, 4 bits in blocks of 32."""

from importlib.metadata import version

import onnx
from common import Reader, load, main
from onnx_neural_compressor.quantization.matmul_nbits_quantizer import (
    AWQWeightOnlyQuantConfig,
    GPTQWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
    RTNWeightOnlyQuantConfig,
)


def quantize(config):
    def write(path, output, feeds):
        quantizer = MatMulNBitsQuantizer(path, block_size=32, algo_config=config(Reader(feeds)))
        quantizer.process()
        quantized = quantizer.model
        onnx.save(getattr(quantized, "model", quantized), output)

    return write


methods = {
    "rtn, 4 bits": quantize(lambda data: RTNWeightOnlyQuantConfig()),
    "gptq, 4 bits": quantize(lambda data: GPTQWeightOnlyQuantConfig(data, mse=True)),
    "awq, 4 bits": quantize(lambda data: AWQWeightOnlyQuantConfig(data)),
}

main("onnx-neural-compressor", version("onnx-neural-compressor"), methods)

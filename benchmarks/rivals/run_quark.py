"""AMD Quark's quantizers of ONNX models: MatMulNBits by three methods, and int8 that rounds activations."""

import copy

import quark
from common import Reader, main
from quark.onnx import A8W8_QCONFIG, Int8Spec, ModelQuantizer, QConfig, QLayerConfig


def run(config):
    return lambda path, output, feeds: ModelQuantizer(copy.deepcopy(config)).quantize_model(
        path, output, Reader(feeds)
    )


def nbits(method, **options):
    """4 bits in blocks of 32."""
    return run(
        QConfig(
            QLayerConfig(activation=Int8Spec(), weight=Int8Spec()),
            UseMatMulNBits=True,
            MatMulNBitsParams={"Algorithm": method, "GroupSize": 32, "Symmetric": True, "Bits": 4},
            **options,
        )
    )


methods = {
    "default, 4 bits": nbits("DEFAULT"),
    "gptq, 4 bits": nbits("GPTQ", GPTQParams={"GroupSize": 32, "MSE": True, "PerChannel": True}),
    "hqq, 4 bits": nbits("HQQ"),
    "A8W8": run(A8W8_QCONFIG),
}

main("quark", quark.__version__, methods)

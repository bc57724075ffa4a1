"""NVIDIA ModelOpt's quantizers of ONNX models on the processor: int4 in blocks of 32, and int8 that rounds activations."""

import modelopt
import modelopt.onnx.quantization as quantization
import onnx
from common import Reader, load, main
from modelopt.onnx.quantization import int4


def blocks(method, **options):
    def write(path, output, feeds):
        quantized = int4.quantize(
            load(path, 21),
            calibration_method=method,
            calibration_data_reader=Reader(feeds),
            calibration_eps=["cpu"],
            block_size=32,
            use_external_data_format=False,
            **options,
        )
        onnx.save(quantized, output)

    return write


def int8(method):
    return lambda path, output, feeds: quantization.quantize(
        path,
        quantize_mode="int8",
        calibration_method=method,
        calibration_data_reader=Reader(feeds),
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        dq_only=True,
        output_path=output,
    )


methods = {
    "int4, rtn": blocks("rtn_dq"),
    # Fusing what it scales into the node before needs CUDA in 0.47.
    "int4, awq_lite": blocks("awq_lite", awqlite_fuse_nodes=False),
    "int4, awq_clip": blocks("awq_clip"),
    "int8, max": int8("max"),
    "int8, entropy": int8("entropy"),
}

main("modelopt", modelopt.__version__, methods)

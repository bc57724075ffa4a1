"""Olive's own quantizers of ONNX models: 4 bits in blocks of 32 by three methods, and k-quant at 8 bits."""

import os
import shutil
import tempfile

import olive
from common import main
from olive.model import ONNXModelHandler
from olive.passes.olive_pass import create_pass_from_dict
from olive.passes.onnx.hqq_quantization import OnnxHqqQuantization
from olive.passes.onnx.kquant_quantization import OnnxKQuantQuantization
from olive.passes.onnx.rtn_quantization import OnnxBlockWiseRtnQuantization


def run(kind, **options):
    def write(path, output, feeds):
        step = create_pass_from_dict(kind, {"block_size": 32, **options}, disable_search=True)
        with tempfile.TemporaryDirectory() as scratch:
            written = step.run(ONNXModelHandler(path), os.path.join(scratch, "model.onnx"))
            shutil.move(written.model_path, output)

    return write


methods = {
    "rtn, 4 bits": run(OnnxBlockWiseRtnQuantization),
    "rtn, 4 bits, asymmetric": run(OnnxBlockWiseRtnQuantization, is_symmetric=False),
    "hqq, 4 bits": run(OnnxHqqQuantization),
    "k_quant, 4 bits": run(OnnxKQuantQuantization),
    "k_quant, 8 bits": run(OnnxKQuantQuantization, bits=8),
}

main("olive", olive.__version__, methods)

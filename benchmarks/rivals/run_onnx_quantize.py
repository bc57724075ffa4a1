"""onnx_quantize: 4 bits in groups of 32, rounded to nearest; GPTQ by whole columns, which is all it offers there."""

from importlib.metadata import version

import numpy as np
import onnx
from common import load, main
from onnx_quantize import GPTQConfig, QConfig, quantize


def weights_only(needs_data=False, **options):
    def write(path, output, feeds):
        data = np.concatenate([next(iter(feed.values())) for feed in feeds]) if needs_data else None
        config = QConfig(
            weights_only=True, weights_dtype="uint4", weights_symmetric=False, calibration_data=data, **options
        )
        onnx.save(quantize(load(path, 21), config), output)

    return write


methods = {
    "uint4": weights_only(group_size=32),
    "uint4, least squared error": weights_only(group_size=32, mse=True),
    "uint4, gptq, per channel": weights_only(needs_data=True, group_size=-1, algorithm=GPTQConfig()),
}

main("onnx-quantize", version("onnx-quantize"), methods)

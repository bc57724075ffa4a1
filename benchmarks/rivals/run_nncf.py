"""NNCF's weight compression of ONNX models: 4 bits in groups of 32, with a share of the layers at 8."""

import nncf
import onnx
from common import load, main


def compress(**options):
    def write(path, output, feeds):
        model = load(path, 21)
        data = {"dataset": nncf.Dataset(feeds)} if options.pop("data", False) else {}
        compressed = nncf.compress_weights(
            model, mode=nncf.CompressWeightsMode.INT4_ASYM, group_size=32, **data, **options
        )
        onnx.save(compressed, output)

    return write


variance = nncf.SensitivityMetric.MEAN_ACTIVATION_VARIANCE
methods = {
    "int4, rest int8": compress(),
    "int4, everywhere": compress(all_layers=True),
    "80% int4, by data": compress(ratio=0.8, data=True, sensitivity_metric=variance),
    "int4, scale estimation": compress(data=True, scale_estimation=True),
    "int4, awq and scale estimation": compress(data=True, awq=True, scale_estimation=True),
}

main("nncf", nncf.__version__, methods)

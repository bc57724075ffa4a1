"""What the scripts of this folder have in common: their two commands.

    python3 run_TOOL.py list
    python3 run_TOOL.py write METHOD MODEL OUTPUT CALIBRATION

`list` prints the tool, its version and its methods as JSON; a package that is missing ends it with an error. `write`
quantizes MODEL with one method. CALIBRATION is a folder of arrays, `<sample>.<input>.npy`.
"""

import json
import os
import sys

import numpy as np
import onnx
from onnx import version_converter


def main(tool, version, methods):
    """Runs the command of this process.

    methods: name -> function(model path, output path, list of feeds).
    """
    command, *rest = sys.argv[1:]
    if command == "list":
        print(json.dumps({"tool": tool, "version": version, "methods": list(methods)}))
    elif command == "write":
        method, model, output, calibration = rest
        methods[method](model, output, read_feeds(calibration))
    else:
        sys.exit(f'unknown command "{command}": expected list or write')


def read_feeds(folder):
    feeds = {}
    for name in sorted(os.listdir(folder)):
        sample, value, _ = name.split(".", 1)[0], *name.split(".", 1)[1].rsplit(".", 1)
        feeds.setdefault(sample, {})[value] = np.load(os.path.join(folder, name))
    return list(feeds.values())


def load(path, opset=None):
    """The model, in a newer opset where a tool needs one: int4 tensors came with 21."""
    model = onnx.load(path)
    own = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return version_converter.convert_version(model, opset) if opset and own < opset else model


class Reader:
    """Feeds one after the other, as onnxruntime's CalibrationDataReader gives them; it can be copied and begun again."""

    def __init__(self, feeds):
        self.feeds = feeds
        self.rewind()

    def get_next(self):
        self.at += 1
        return self.feeds[self.at - 1] if self.at <= len(self.feeds) else None

    def get_first(self):
        return self.feeds[0]

    def rewind(self):
        self.at = 0

    def __iter__(self):
        return iter(self.get_next, None)

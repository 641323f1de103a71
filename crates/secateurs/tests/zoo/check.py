"""Runs ONNX's checker on every file named on standard input and answers with a line of JSON: an object, with `error` if the
file is not valid."""

import json
import sys

import onnx

for line in sys.stdin:
    try:
        onnx.checker.check_model(line.rstrip("\n"), full_check=True)
        answer = {}
    except Exception as error:
        answer = {"error": f"ONNX's checker: {error}"}
    print(json.dumps(answer), flush=True)

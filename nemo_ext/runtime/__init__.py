"""Graphs at work: one session protocol over ONNX Runtime, OpenVINO and TensorRT. No torch."""

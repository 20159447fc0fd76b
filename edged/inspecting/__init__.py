"""What is in an ONNX file, a model directory or a plan, and where its time goes: `edged inspect`."""

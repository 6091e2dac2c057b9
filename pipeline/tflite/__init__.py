"""The `.tflite` file: read, written, converted to, run."""

"""The only room where tf_keras and tensorflow-model-optimization live."""

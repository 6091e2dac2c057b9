"""What each kind of Keras layer is to the pipeline: one entry per class of layers."""

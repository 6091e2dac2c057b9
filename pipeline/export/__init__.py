"""What a run hands over: the bundle of files and the model card."""

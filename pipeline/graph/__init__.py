"""What a Keras network is made of and costs, read from its graph without running it."""

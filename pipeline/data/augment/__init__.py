"""Random changes of training images, new in each epoch."""

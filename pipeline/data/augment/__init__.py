"""What changes training images from epoch to epoch."""

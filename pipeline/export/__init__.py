"""What is handed over: the bundle of files and its card."""

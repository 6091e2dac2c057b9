"""How numbers get fewer bits."""

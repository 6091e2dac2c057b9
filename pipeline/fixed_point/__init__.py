"""How few bits a trained network needs in fixed point, and how wide its accumulators have to be."""

"""How a network gets smaller: pruning, clustering, slimming, factors of low rank."""

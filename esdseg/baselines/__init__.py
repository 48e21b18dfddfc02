"""scikit-learn models on the statistics of a label cell, beside which every network is scored."""

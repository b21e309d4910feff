"""Files of networks: weights, configs, and the names in other projects."""
